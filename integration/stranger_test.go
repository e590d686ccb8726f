package integration

import (
	"os"
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
