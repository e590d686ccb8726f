package tracer

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper is a program that sleeps, and its process.
func (l *live) sleeper(seconds string) (*Generation, *process) {
	l.t.Helper()
	g, err := l.launch("/bin/sleep", seconds)
	if err != nil {
		l.t.Fatal(err)
	}
	var p *process
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if nr, _, ok := currentCall(g.Root, g.Root); ok && nr == unix.SYS_CLOCK_NANOSLEEP {
			break
		}
	}
	l.Do(func() { p = g.procs[g.Root] })
	return g, p
}

// TestCallIsBrokenOff: a call that blocks does not keep the tracer, and the
// program goes on where it was.
func TestCallIsBrokenOff(t *testing.T) {
	l := newLive(t)
	g, p := l.sleeper("1.5")
	var err error
	var took time.Duration
	l.Do(func() {
		began := time.Now()
		err = l.inject(p, func(i *injection) error {
			_, err := i.call("pause", unix.SYS_PAUSE)
			return err
		})
		took = time.Since(began)
	})
	if !errors.Is(err, errBrokenOff) || took > 10*callGrace {
		t.Errorf("%v after %v", err, took)
	}
	if n := l.awaitEnd(g); n.Status.ExitStatus() != 0 {
		t.Errorf("the program ended with %v", n.Status)
	}
}

// TestCallIsLeft: a call that nothing breaks off does not keep the tracer, either.
// When it ends, the program goes on where it was.
func TestCallIsLeft(t *testing.T) {
	l := newLive(t)
	g, p := l.sleeper("6")
	var err error
	var took time.Duration
	var child int
	l.Do(func() {
		began := time.Now()
		err = l.inject(p, func(i *injection) error {
			// A parent in vfork waits for its child, whatever comes.
			_, err := i.call("clone", unix.SYS_CLONE, unix.CLONE_VFORK|uint64(unix.SIGCHLD))
			return err
		})
		took = time.Since(began)
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", g.Root, g.Root))
		fmt.Sscan(string(b), &child)
		if child != 0 {
			unix.Kill(child, unix.SIGSTOP)
		}
	})
	if child == 0 {
		t.Fatal("the call has no child")
	}
	if !errors.Is(err, errStuck) || took > 2*callLimit {
		t.Errorf("%v after %v", err, took)
	}
	// Others are served meanwhile.
	other := l.mustLaunch("exit 3")
	if n := l.awaitEnd(other); n.Status.ExitStatus() != 3 {
		t.Errorf("another program ended with %v", n.Status)
	}
	unix.Kill(child, unix.SIGKILL)
	if n := l.awaitEnd(g); n.PID != g.Root || n.Status.ExitStatus() != 0 {
		t.Errorf("the program, process %d, ended with %v", n.PID, n.Status)
	}
}
