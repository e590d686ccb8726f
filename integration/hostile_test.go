package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/control"
	"hupt/internal/machine"
)

// hostileFor is how long TestHostile attacks: HUPT_HOSTILE, or some seconds.
func hostileFor() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("HUPT_HOSTILE")); err == nil {
		return d
	}
	return max(5*time.Second, time.Duration(scale(600))*time.Second)
}

// TestHostile: a server of root's has children of two ordinary users, which try from a
// seed whatever they may (testdata/c/hostile.c). Nothing of root's changes; hupt
// answers in time, has bounded memory and descriptors, and tells systemd nothing that
// is theirs; the server beside it, of another instance, is restarted without a
// loss; the one that is attacked serves on, and its restart works or says why not; and
// all of it ends when it is told to. HUPT_SEED=n is another seed, HUPT_HOSTILE=10m
// another time.
func TestHostile(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	seeds := []uint64{1, rand.Uint64() >> 40}
	if seed, err := strconv.ParseUint(os.Getenv("HUPT_SEED"), 10, 64); err == nil {
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			a := newAttack(t, seed)
			a.run(hostileFor())
			a.ends()
		})
	}
}

// attack is one run of TestHostile.
type attack struct {
	t       *testing.T
	s, good *site
	i, j    *instance // attacked, and beside it
	arena   string
	before  map[string]string // what is root's, by name
	open    map[string]*os.File
	systemd *service
	n       int // versions so far
}

func newAttack(t *testing.T, seed uint64) *attack {
	a := &attack{t: t, s: newSite(t, c("c-hostile", "hostile")), good: newSite(t, named("c-threads")), open: map[string]*os.File{}}
	a.s.v.tag, a.s.v.check = bodyTag, checkBody
	a.makeArena()
	a.systemd = fakeSystemd(t)
	a.s.args = []string{"workers=4", fmt.Sprint("udp=", a.good.port), "arena=" + a.arena, fmt.Sprint("seed=", seed)}
	a.j = start(a.good)
	a.i = launchAt(t, a.s.dir, launch{argv: a.s.argv(), env: []string{"NOTIFY_SOCKET=" + a.systemd.name}})
	a.s.awaitAnswer()
	a.before = a.look()
	return a
}

// run watches over an attack for a while.
func (a *attack) run(d time.Duration) {
	t := a.t
	o := paced(a.good)
	o.Rate = machine.Pace(50, 20)
	o.Clients = 8
	run := begin(t, o)
	var looks sync.WaitGroup
	over := make(chan struct{})
	looks.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(300 * time.Millisecond):
				a.answers()
			}
		}
	})
	for end, n := time.Now().Add(d), 0; time.Now().Before(end) && !t.Failed(); n++ {
		time.Sleep(time.Second)
		version := fmt.Sprintf("g%d", n)
		a.good.deploy(version)
		if out, code := a.j.hupt("restart"); code != 0 {
			t.Errorf("restart of the server beside it: exit code %d\n%s", code, out)
		}
		if who := a.good.awaitAnswer(); who.version != version {
			t.Errorf("beside it, %s serves, not %s", who.version, version)
		}
		if n%2 == 0 {
			a.restart()
		}
		a.unchanged()
	}
	close(over)
	looks.Wait()
	noneFailed(t, "beside an attack", run.Stop())
}

// restart: it works, or says why not; the attacked one serves in any case.
func (a *attack) restart() {
	a.t.Helper()
	version := fmt.Sprintf("v%d", a.n+1)
	a.s.deploy(version)
	a.n++
	out, code := a.i.hupt("restart")
	switch {
	case code == 0:
		if who := a.s.awaitAnswer(); who.version != version {
			a.t.Errorf("%s serves, not %s", who.version, version)
		}
	case code == 6 || code > 10 || !strings.Contains(out, "hupt: "):
		a.t.Errorf("restart of the attacked server: exit code %d\n%s", code, out)
	default:
		a.t.Logf("restart of the attacked server: exit code %d\n%s", code, out)
		a.s.awaitAnswer()
	}
}

// answers: status does so in time, and hupt's memory and descriptors are bounded.
func (a *attack) answers() {
	began := time.Now()
	_, err := a.i.look()
	if took := time.Since(began); took > machine.Patience(5*time.Second) || err != nil && !errors.Is(err, control.ErrNoAnswer) {
		a.t.Errorf("status of the attacked instance: %v after %v", err, took)
	} else if err != nil {
		a.t.Logf("status: %v", err)
	}
	if kib := residentKiB(a.i.pid); kib > 150<<10 {
		a.t.Errorf("hupt has %d KiB of memory", kib)
	}
	if n := descriptorsOf(a.i.pid); n > 256+256+100 {
		a.t.Errorf("hupt has %d descriptors", n)
	}
}

func residentKiB(pid int) (kib int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Sscan(v, &kib)
		}
	}
	return kib
}

func descriptorsOf(pid int) int {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(fds)
}

// ends: all of it, in time, and hupt had nothing to say against itself.
func (a *attack) ends() {
	t := a.t
	t.Logf("what hupt's tracer saw: %v", a.i.status().Stops)
	began := time.Now()
	a.i.signal(unix.SIGTERM)
	code := a.i.exitCode()
	if took := time.Since(began); took > machine.Patience(15*time.Second) {
		t.Errorf("TERM took %v", took)
	}
	if code != 0 && code != 137 && code != 143 {
		t.Errorf("exit code %d", code)
	}
	out, _ := os.ReadFile(a.i.output)
	for _, bad := range []string{"internal error", "goroutine ", "DATA RACE", "panic"} {
		if strings.Contains(string(out), bad) {
			t.Errorf("hupt said %q", bad)
		}
	}
	if len(out) > 1<<20 {
		t.Errorf("hupt said %d bytes", len(out))
	}
	a.systemd.check(t)
}
