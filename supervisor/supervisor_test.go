package supervisor

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/tracer"
)

func TestGoodRestart(t *testing.T) {
	r := start(t)
	events, cancel, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	r.asked("launch 2")
	if _, _, err := r.Restart(RestartOptions{}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	if st := r.Status(true); st.State != "restarting" || st.Stops["clone"] != 3 || st.Injected != 7 {
		t.Errorf("%+v", st)
	}
	r.serve(2)
	const want = "starting 2, ready 2, serving 2, drained 1, confirmed 2, stopping 1, gone 1"
	if got := r.kinds(events); got != want {
		t.Errorf("told %s", got)
	}
	r.asked("launch 1", "settle 1", "launch 2", "quiesce 1", "settle 2", "signal 1 SIGTERM", "forget 1")
	if st := r.Status(true); st.State != "running" || st.Restarts != 1 || len(st.Generations) != 1 || st.Generations[0].Number != 2 {
		t.Errorf("%+v", st)
	}
	r.end1(t, 2, 0x0300, 3)
}

// end1 ends the program, and hupt with it.
func (r *run) end1(t *testing.T, n int, status unix.WaitStatus, code int) {
	t.Helper()
	r.fakeTracer.end(n, status)
	if got, err := r.finish(); got != code || err != nil {
		t.Errorf("exit code %d, %v", got, err)
	}
	if _, _, err := r.Restart(RestartOptions{}); !errors.Is(err, ErrStopping) {
		t.Errorf("a restart after the end: %v", err)
	}
}

func TestRollback(t *testing.T) {
	r := start(t)
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.await(EventStarting)
	r.tell(tracer.Note{Kind: tracer.NoteFailedCall, Generation: r.gen(2), Text: "bind :80: permission denied"})
	r.fakeTracer.end(2, unix.WaitStatus(unix.SIGSEGV))
	if got := r.kinds(events); got != "starting 2, failed 2" {
		t.Errorf("told %s", got)
	}
	r.never("quiesce 1")
	if st := r.Status(true); st.Rollbacks != 1 || st.Generations[0].Number != 1 {
		t.Errorf("%+v", st)
	}
	r.end1(t, 1, unix.WaitStatus(unix.SIGTERM), 143)
}

func TestResumedInProbation(t *testing.T) {
	left := atomic.Int32{}
	left.Store(2)
	r := start(t, func(_ *Config, f *fakeTracer) {
		f.resume = func() ([]int, error) {
			if left.Add(-1) > 0 {
				return []int{1001}, nil // not stopped yet: again
			}
			return nil, nil
		}
	})
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.await(EventStarting)
	r.serve(2)
	r.await(EventServing)
	r.fakeTracer.end(2, 0x0100)
	r.await(EventResumed)
	// It may be counted at any moment.
	got := strings.Replace(r.kinds(events), "drained 1, ", "", 1)
	if got != "starting 2, ready 2, serving 2, gone 2, resumed 1, failed 2" {
		t.Errorf("told %s", got)
	}
	r.asked("quiesce 1", "settle 2", "forget 2", "resume 1", "resume 1")
	r.call(func() {
		if n := r.machine.Serving(); n != 1 || r.gens[1].draining != nil {
			t.Errorf("generation %d serves; its drain goes on: %v", n, r.gens[1].draining != nil)
		}
	})
}

func TestQuiesceFails(t *testing.T) {
	r := start(t, func(_ *Config, f *fakeTracer) {
		f.quiesce = func() ([]int, error) { return nil, errors.New("it resists") }
	})
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.await(EventStarting)
	r.serve(2)
	e := r.await(EventFailed)
	if want := "generation 1 could not be made to stop accepting: it resists; generation 1 serves on"; e.Reason != want {
		t.Error(e.Reason)
	}
	r.kinds(events)
	r.asked("quiesce 1", "resume 1")
	r.asked("quiesce 1", "signal 2 SIGTERM")
	r.never("signal 1 SIGTERM")
}

// TestQuiesceWaits: a process that does not stop at once is done later.
func TestQuiesceWaits(t *testing.T) {
	left := atomic.Int32{}
	left.Store(3)
	r := start(t, func(_ *Config, f *fakeTracer) {
		f.quiesce = func() ([]int, error) {
			if left.Add(-1) > 0 {
				return []int{4711}, nil
			}
			return nil, nil
		}
	})
	if _, _, err := r.Restart(RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	r.await(EventStarting)
	r.serve(2)
	r.await(EventServing)
	r.asked("quiesce 1", "quiesce 1", "quiesce 1", "settle 2")
}

func TestLaunchErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind error
		text string
	}{
		{&tracer.LaunchError{Step: "lookup", Path: "prog", Errno: unix.ENOENT}, ErrNotFound, "prog: command not found"},
		{&tracer.LaunchError{Step: "lookup", Path: "a/prog", Errno: unix.ENOTDIR}, ErrNotFound, "a/prog: command not found"},
		{&tracer.LaunchError{Step: "lookup", Path: "./prog", Errno: unix.EACCES}, ErrNotExecutable, "./prog: not executable: permission denied"},
		{&tracer.LaunchError{Step: "execve", Path: "./prog", Errno: unix.ENOEXEC}, ErrNotExecutable, "./prog: not executable: exec format error"},
		{&tracer.LaunchError{Step: "execve", Path: "./prog", Errno: unix.ENOENT}, ErrNotExecutable, "./prog: not executable: its interpreter was not found"},
		{&tracer.LaunchError{Step: "seccomp", Err: unix.EINVAL}, ErrSeccompMissing, "seccomp filters are not available here: seccomp: invalid argument"},
		{&tracer.LaunchError{Step: "seize", Err: tracer.ErrForbidden}, ErrPtraceForbidden, ""},
		{errors.New("no memory"), nil, "no memory"},
	} {
		r := begin(t, func(_ *Config, f *fakeTracer) { f.launch = func(int) error { return c.err } })
		code, err := r.finish()
		if code != 125 || err == nil || c.kind != nil && !errors.Is(err, c.kind) || c.text != "" && err.Error() != c.text {
			t.Errorf("%v: exit code %d, %v", c.err, code, err)
		}
	}
}

// TestNextLaunchFails: the instance goes on, and the next restart works.
func TestNextLaunchFails(t *testing.T) {
	r := start(t, func(_ *Config, f *fakeTracer) {
		f.launch = func(n int) error {
			if n == 2 {
				return &tracer.LaunchError{Step: "lookup", Path: "prog", Errno: unix.ENOENT}
			}
			return nil
		}
	})
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.kinds(events); got != "failed 2" {
		t.Errorf("told %s", got)
	}
	if _, _, err := r.Restart(RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	r.asked("launch 1", "launch 3")
}

// TestEarlyNotes: what comes before the launch was heard of is not lost.
func TestEarlyNotes(t *testing.T) {
	var f *fakeTracer
	r := begin(t, func(_ *Config, tr *fakeTracer) {
		f = tr
		tr.launch = func(n int) error {
			g := &tracer.Generation{Number: n, Root: 1001}
			f.tell(tracer.Note{Kind: tracer.NoteExit, Generation: g, PID: 1001, Status: 0x0700, Last: true})
			time.Sleep(20 * time.Millisecond)
			return nil
		}
	})
	if code, err := r.finish(); code != 7 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestStop(t *testing.T) {
	r := start(t)
	events, _ := r.Stop()
	if got := r.kinds(events); got != "stopping 1, gone 1, stopped 1" {
		t.Errorf("told %s", got)
	}
	if code, err := r.finish(); code != 143 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	if got := r.kinds(first(r.Stop())); got != "" {
		t.Errorf("a stop after the end: told %s", got)
	}
}

func first(c <-chan Event, _ func()) <-chan Event { return c }

func TestStopIsOutlived(t *testing.T) {
	r := start(t, func(c *Config, f *fakeTracer) { c.KillAfter, f.stubborn = 50*time.Millisecond, true })
	r.Stop()
	if code, _ := r.finish(); code != 137 {
		t.Errorf("exit code %d", code)
	}
	r.asked("signal 1 SIGTERM", "kill 1")
}

func TestSecondStopKills(t *testing.T) {
	r := start(t, func(_ *Config, f *fakeTracer) { f.stubborn = true })
	r.Stop()
	r.asked("signal 1 SIGTERM")
	if _, _, err := r.Restart(RestartOptions{}); !errors.Is(err, ErrStopping) {
		t.Errorf("a restart: %v", err)
	}
	r.Stop()
	if code, _ := r.finish(); code != 137 {
		t.Errorf("exit code %d", code)
	}
}

// TestStatusAtAnyTime asks while a restart goes on.
func TestStatusAtAnyTime(t *testing.T) {
	r := start(t)
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var asking sync.WaitGroup
	for range 3 {
		asking.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					r.Status(true)
				}
			}
		})
	}
	r.serve(2)
	r.kinds(events)
	close(over)
	asking.Wait()
}

// TestReportIsStuck: a report that never returns holds up nothing but the end,
// and that for a second.
func TestReportIsStuck(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	r := begin(t, func(c *Config, _ *fakeTracer) { c.Report = func(Event) { <-release } })
	r.asked("launch 1")
	r.serve(1)
	r.asked("settle 1")
	if _, _, err := r.Restart(RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	r.asked("launch 2")
	r.Stop()
	r.finish()
}

func TestExitOf(t *testing.T) {
	for status, want := range map[syscall.WaitStatus]string{
		0x0000: "0 exited with status 0",
		0x0300: "3 exited with status 3",
		0x000f: "143 was killed by SIGTERM",
		0x008b: "139 was killed by SIGSEGV",
		0x0028: "168 was killed by signal 40",
	} {
		e := exitOf(unix.WaitStatus(status))
		if got := itoa(e.Code) + " " + e.Reason; got != want {
			t.Errorf("%#x: %s", status, got)
		}
	}
}
