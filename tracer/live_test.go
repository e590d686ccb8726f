package tracer

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/internal/machine"
	"hupt/stage2"
	"hupt/twin"
)

// The test binary is stage 2 and the doorbell, too.
func TestMain(m *testing.M) {
	if stage2.Requested() {
		stage2.Main()
	}
	if twin.Requested() {
		twin.Main()
	}
	if len(os.Args) > 1 && os.Args[1] == movesArg {
		if err := moveStacks(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// live is a tracer with real programs. It reaps all children of this process,
// so these tests start none by os/exec.
type live struct {
	*Tracer
	t     *testing.T
	notes []Note
}

var theOne = sync.OnceValues(func() (*Tracer, error) { return New(Options{RestartSignal: unix.SIGHUP}) })

func newLive(t *testing.T) *live {
	t.Helper()
	tr, err := theOne()
	if errors.Is(err, ErrForbidden) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &live{Tracer: tr, t: t}
}

// TestManyCalls: no ring is lost, whenever it comes. In each round no other one comes
// to wake the tracer in its place.
func TestManyCalls(t *testing.T) {
	l := newLive(t)
	for n := range 20000 {
		over := make(chan struct{})
		go func() {
			var callers sync.WaitGroup
			for range 2 {
				callers.Go(func() { l.Do(func() { l.sinceSweep = sweepEvery }) }) // all are collected next
			}
			callers.Wait()
			close(over)
		}()
		select {
		case <-over:
		case <-time.After(machine.Patience(30 * time.Second)):
			t.Fatalf("round %d: a call is not made", n)
		}
	}
}

func (l *live) launch(command ...string) (*Generation, error) {
	dir, err := os.Getwd()
	if err != nil {
		l.t.Fatal(err)
	}
	g, err := l.Launch(1, stage2.Spec{Command: command, Env: []string{"PATH=/bin:/usr/bin"}, Dir: dir}, nil)
	if err == nil {
		l.t.Cleanup(func() { l.Kill(g) })
	}
	return g, err
}

func (l *live) mustLaunch(script string) *Generation {
	l.t.Helper()
	g, err := l.launch("/bin/sh", "-c", script)
	if err != nil {
		l.t.Fatal(err)
	}
	return g
}

// await waits for a note that is wanted.
func (l *live) await(what string, wanted func(Note) bool) Note {
	l.t.Helper()
	deadline := time.After(machine.Patience(10 * time.Second))
	for {
		for i, n := range l.notes {
			if wanted(n) {
				l.notes = l.notes[i+1:]
				return n
			}
		}
		l.notes = nil
		select {
		case <-l.Wake():
			l.notes = l.Notes()
		case <-deadline:
			l.t.Fatalf("never: %s", what)
		}
	}
}

func (l *live) awaitEnd(g *Generation) Note {
	l.t.Helper()
	return l.await("the end", func(n Note) bool { return n.Kind == NoteExit && n.Generation == g && n.Last })
}

func (l *live) awaitPids(g *Generation, want int) []int {
	l.t.Helper()
	for deadline := time.Now().Add(machine.Patience(10 * time.Second)); ; time.Sleep(time.Millisecond) {
		if pids := l.Pids(g); len(pids) == want {
			return pids
		} else if time.Now().After(deadline) {
			l.t.Fatalf("%d processes, not %d", len(pids), want)
		}
	}
}

func TestExitIsTold(t *testing.T) {
	l := newLive(t)
	for _, c := range []struct {
		script string
		code   int
		signal syscall.Signal
	}{{"exit 3", 3, -1}, {"kill -9 $$", -1, unix.SIGKILL}, {"(exit 4)", 4, -1}, {"sleep 0.05 & exit 5", 0, -1}} {
		g := l.mustLaunch(c.script)
		n := l.awaitEnd(g)
		if n.Status.ExitStatus() != c.code || n.Status.Signal() != c.signal {
			t.Errorf("%s: %#x", c.script, n.Status)
		}
		if pids := l.Pids(g); len(pids) != 0 {
			t.Errorf("%s: %v live", c.script, pids)
		}
	}
}

func TestLaunchFails(t *testing.T) {
	l := newLive(t)
	for path, want := range map[string]LaunchError{
		"nosuch-command": {Step: "lookup", Errno: unix.ENOENT},
		"/":              {Step: "lookup", Errno: unix.EACCES},
		"/dev/null/x":    {Step: "lookup", Errno: unix.ENOTDIR},
	} {
		_, err := l.launch(path)
		var got *LaunchError
		if !errors.As(err, &got) || got.Step != want.Step || got.Errno != want.Errno || got.Path != path {
			t.Errorf("%s: %#v", path, err)
		}
	}
}

func TestSignals(t *testing.T) {
	l := newLive(t)
	g := l.mustLaunch("exec sleep 100")
	if pids := l.Pids(g); len(pids) != 1 || pids[0] != g.Root {
		t.Errorf("%v", pids)
	}
	if l.Signal(g, os.Getpid(), unix.SIGURG) || l.Signal(g, g.Root+1, 0) {
		t.Error("a stranger was signalled")
	}
	if !l.Signal(g, g.Root, unix.SIGTERM) {
		t.Error("not sent")
	}
	if n := l.awaitEnd(g); n.PID != g.Root || n.Status.Signal() != unix.SIGTERM {
		t.Errorf("%+v", n)
	}
	if l.Signal(g, g.Root, unix.SIGTERM) {
		t.Error("the dead were signalled")
	}
}

func TestKillTakesAll(t *testing.T) {
	l := newLive(t)
	g := l.mustLaunch("sleep 100 & (sleep 100 & sleep 100; :) & wait")
	l.awaitPids(g, 5)
	l.Kill(g)
	l.awaitEnd(g)
	l.Forget(g)
	stops, _ := l.Stats()
	if stops["exit"] < 5 || stops["fork"]+stops["vfork"]+stops["clone"] < 4 {
		t.Error(stops)
	}
}

// TestRestartSignalIsKept: one from outside is kept from the program, one
// among its own processes is not.
func TestRestartSignalIsKept(t *testing.T) {
	l := newLive(t)
	g := l.mustLaunch(`trap 'exit 9' HUP; sleep 100 & echo; wait; wait`)
	l.awaitPids(g, 2)
	// An orphan of ours, which the tracer reaps as a stranger.
	_, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", fmt.Sprintf("kill -HUP %d", g.Root)}, &syscall.ProcAttr{Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	n := l.await("the restart signal", func(n Note) bool { return n.Kind == NoteRestartSignal })
	if n.PID != g.Root || n.Generation != g || unix.Signal(n.Signal) != unix.SIGHUP {
		t.Errorf("%+v", n)
	}
	l.awaitPids(g, 2)
	l.Kill(g)
	l.awaitEnd(g)

	own := l.mustLaunch(`trap 'exit 9' HUP; (kill -HUP $$); sleep 5`)
	if n := l.awaitEnd(own); n.Status.ExitStatus() != 9 {
		t.Errorf("%#x", n.Status)
	}
}

// TestDoorbell: calls from many goroutines are all heard, while programs come
// and go, and after somebody killed the doorbell.
func TestDoorbell(t *testing.T) {
	l := newLive(t)
	g := l.mustLaunch("while :; do /bin/true; done")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				l.Do(func() {})
			}
		})
	}
	wg.Wait()
	unix.Kill(int(l.bell.Load()), unix.SIGKILL)
	done := make(chan struct{})
	go func() { l.Kill(g); close(done) }()
	select {
	case <-done:
	case <-time.After(machine.Patience(10 * time.Second)):
		t.Fatal("a call was not heard")
	}
	l.awaitEnd(g)
}

// TestContinuedOnce: the shell's SIGCONT to a whole job, hupt among it, is not
// sent again to a program that has it already, seen or not.
func TestContinuedOnce(t *testing.T) {
	l := newLive(t)
	g := l.mustLaunch("exec sleep 60")
	pid := l.awaitPids(g, 1)[0]
	for range 20 {
		unix.Kill(pid, unix.SIGSTOP)
		l.await("its stop", func(n Note) bool { return n.Kind == NoteGroupStop && n.Generation == g })
		var twice bool
		l.Do(func() { // before the tracer has heard of it
			unix.Kill(pid, unix.SIGCONT)
			twice = g.procs[pid].waitsForCont()
		})
		if twice || l.Signal(g, pid, unix.SIGCONT) {
			t.Fatal("it is told to go on twice")
		}
		l.await("it goes on", func(n Note) bool { return n.Kind == NoteContinued && n.Generation == g })
	}
	unix.Kill(pid, unix.SIGSTOP)
	l.await("its stop", func(n Note) bool { return n.Kind == NoteGroupStop && n.Generation == g })
	if !l.Signal(g, pid, unix.SIGCONT) {
		t.Error("one that is stopped is not told to go on")
	}
	l.await("it goes on", func(n Note) bool { return n.Kind == NoteContinued && n.Generation == g })
}
