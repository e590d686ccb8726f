package integration

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withStranger starts a server of root's that has a child of another user, which does
// what model says.
func withStranger(t *testing.T, model string, l launch) (*site, *instance) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	s := newSite(t, c("c-stranger", "stranger", "model="+model))
	s.v.tag, s.v.check = bodyTag, checkBody
	l.argv = s.argv()
	i := launchAt(t, s.dir, l)
	s.awaitAnswer()
	await(t, "the stranger begins", func() bool { return strings.Contains(i.tail(), "stranger v0: begins") })
	return s, i
}

// TestStrangersHangup: a child of another user sends itself the restart signal, and says
// that it is root's. Nothing is restarted by it; root's own, to the program, is
// not taken for one of these.
func TestStrangersHangup(t *testing.T) {
	t.Parallel()
	s, i := withStranger(t, "hangup", launch{})
	time.Sleep(time.Second)
	if st := i.status(); st.Restarts != 0 || i.says("starting generation 2") > 0 {
		t.Errorf("it restarted:\n%s", i.tail())
	}
	for n := range 2 {
		before := i.serving().PID
		unix.Kill([]int{i.pid, before}[n], unix.SIGHUP)
		await(t, "root's own restarts", func() bool { return i.serving().PID != before })
		time.Sleep(500 * time.Millisecond)
	}
	s.awaitAnswer()
	if n := i.says("starting generation"); n != 3 {
		t.Errorf("%d generations, not 3:\n%s", n, i.tail())
	}
}

// TestStrangersNotify: a child of another user tells the service manager all that it
// must not be told, in messages and by the name of a path; and in such numbers that
// they would be in the way. systemd hears what hupt and the main process say.
func TestStrangersNotify(t *testing.T) {
	t.Parallel()
	d := fakeSystemd(t)
	s, i := withStranger(t, "notify", launch{env: []string{"NOTIFY_SOCKET=" + d.name}})
	said := func(line string) {
		await(t, "systemd hears "+line, func() bool { return slices.Contains(d.lines(), line) })
	}
	said("READY=1")
	said("STATUS=of the server's")
	said("X_SERVER=5")
	// The queue is short: hupt takes no time over what others say, so that nobody waits
	// behind them. 100 in a second is what the program may say.
	told := regexp.MustCompile(`told 1000 lies in (\d+) ms`)
	await(t, "it has told its lies", func() bool { return told.MatchString(i.tail()) })
	if ms, _ := strconv.Atoi(told.FindStringSubmatch(i.tail())[1]); ms > 5000 {
		t.Errorf("others' messages were taken slowly, and the program's behind them: 1000 in %d ms", ms)
	}
	s.deploy("bad")
	if out, code := i.hupt("restart"); code != 1 {
		t.Errorf("a version that ends: exit code %d\n%s", code, out)
	}
	await(t, "systemd hears that it failed", func() bool {
		return slices.ContainsFunc(d.lines(), func(line string) bool { return strings.HasPrefix(line, "STATUS=generation 2 failed") })
	})
	s.deploy("v2")
	i.restart()
	said("STATUS=generation 3 serves")
	if kib := residentKiB(i.pid); kib > 150<<10 {
		t.Errorf("hupt has %d KiB of memory", kib)
	}
	d.check(t, "X_SERVER")
	t.Logf("systemd was told %q", d.lines())
}
