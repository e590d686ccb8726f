package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"hupt/stage2"
	"hupt/tracer"
)

func TestStopFirst(t *testing.T) {
	r := start(t, func(c *Config, _ *fakeTracer) { c.Mode = StopFirst })
	events, cancel, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	r.asked("forget 1", "launch 2")
	r.serve(2)
	const want = "quiesced 1, drained 1, stopping 1, gone 1, starting 2, ready 2, serving 2, confirmed 2"
	if got := r.kinds(events); got != want {
		t.Errorf("told %s", got)
	}
	r.asked("launch 1", "settle 1", "quiesce 1", "signal 1 SIGTERM", "forget 1", "launch 2", "settle 2")
	r.call(func() {
		if len(r.handovers) > 0 {
			t.Errorf("%d handovers are left", len(r.handovers))
		}
	})
}

// TestModeOfOneRestart: what a restart asks for counts for it alone.
func TestModeOfOneRestart(t *testing.T) {
	r := start(t)
	if _, _, err := r.Restart(RestartOptions{Mode: "sideways"}); !errors.Is(err, ErrBadOptions) {
		t.Errorf("a mode that is none: %v", err)
	}
	events, _, err := r.Restart(RestartOptions{Mode: StopFirst})
	if err != nil {
		t.Fatal(err)
	}
	r.asked("forget 1", "launch 2")
	r.serve(2)
	r.kinds(events)
	if _, _, err := r.Restart(RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	r.asked("launch 2", "settle 2", "launch 3")
	r.never("quiesce 2")
}

// TestRollingAlone: one process is not restarted one after the other; all of it
// at once it is.
func TestRollingAlone(t *testing.T) {
	r := start(t)
	yes, no := true, false
	if _, _, err := r.Restart(RestartOptions{Rolling: &yes}); !errors.Is(err, ErrBadOptions) || !strings.Contains(err.Error(), "--multi") {
		t.Errorf("rolling: %v", err)
	}
	if _, _, err := r.Restart(RestartOptions{Rolling: &no}); err != nil {
		t.Errorf("not rolling: %v", err)
	}
}

// TestStartedAgain: what served before is, with its own command, until one
// serves; and a restart that is asked for meanwhile comes first.
func TestStartedAgain(t *testing.T) {
	r := start(t, func(c *Config, f *fakeTracer) {
		c.Mode = StopFirst
		f.launch = func(n int) error {
			if n == 2 || n == 3 {
				return &tracer.LaunchError{Step: "execve", Path: "prog", Errno: unix.ENOEXEC}
			}
			return nil
		}
	})
	events, _, err := r.Restart(RestartOptions{Command: []string{"sh", "-c", "x"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.kinds(events); !strings.HasSuffix(got, "gone 1, failed 2") && !strings.HasSuffix(got, "gone 1, retry 3, failed 2") {
		t.Errorf("told %s", got)
	}
	if st := r.Status(false); st.State != "recovering" || st.Command[0] != "true" {
		t.Errorf("%+v", st)
	}
	r.asked("launch 1", "forget 1", "launch 4") // after a second
	if spec := r.specs[4]; spec.Command[0] != "true" {
		t.Errorf("%+v was started again", spec)
	}
	if _, _, err := r.Restart(RestartOptions{Mode: StartFirst}); err != nil {
		t.Fatal(err)
	}
	r.asked("launch 4", "signal 4 SIGTERM", "forget 4", "launch 5")
	r.serve(5)
	r.await(EventConfirmed)
	if st := r.Status(false); st.State != "running" || st.Restarts != 1 || st.Rollbacks != 1 {
		t.Errorf("%+v", st)
	}
}

// TestRecovered: the sockets have passed when what served before serves.
func TestRecovered(t *testing.T) {
	r := start(t, func(c *Config, _ *fakeTracer) { c.Mode = StopFirst })
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.gen(2)
	r.fakeTracer.end(2, 0x0100)
	r.serve(3)
	if got := r.kinds(events); !strings.HasSuffix(got, "starting 3, ready 3, serving 3, failed 2") {
		t.Errorf("told %s", got)
	}
	r.call(func() {
		if n := r.machine.Serving(); n != 3 || len(r.handovers) > 0 {
			t.Errorf("generation %d serves, %d handovers are left", n, len(r.handovers))
		}
	})
}

// TestChoose: what is started again is the file that was executed then, unless
// its name still leads to it.
func TestChoose(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		os.Remove(path)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := put("prog", "the old one")
	opened, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	g := gen{program: &program{command: []string{path}}, path: path, traced: &tracer.Generation{Executable: opened}}
	g.keepFile()
	defer g.file.close()
	b := g.before()
	choice := func(n int) string {
		t.Helper()
		var spec stage2.Spec
		clean := b.choose(&spec, n)
		defer clean()
		if spec.File == "" {
			return "by name"
		}
		text, err := os.ReadFile(spec.File)
		if err != nil {
			t.Error(err)
		}
		return filepath.Base(spec.File) + ": " + string(text)
	}
	if got := choice(1); got != "by name" {
		t.Errorf("nothing has changed: %s", got)
	}
	kept := filepath.Join(dir, "kept")
	if err := os.Rename(path, kept); err != nil {
		t.Fatal(err)
	}
	put("prog", "the new one")
	if got := choice(1); got != "kept: the old one" {
		t.Error(got)
	}
	os.Remove(kept)
	if got := choice(1); got != "prog: the old one" {
		t.Error(got)
	}
	if got := choice(2); got != "by name" {
		t.Errorf("every second attempt: %s", got)
	}
	os.Remove(path)
	if got := choice(2); got != "prog: the old one" {
		t.Errorf("its name leads nowhere: %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "hupt-before-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func (f *fakeTracer) CanExecute(g *tracer.Generation, pid int) error {
	if f.canExecute != nil {
		return f.canExecute()
	}
	return nil
}

func (f *fakeTracer) Keep(g *tracer.Generation, pid int)                          { f.answer("keep", g, nil) }
func (f *fakeTracer) Release(g *tracer.Generation, pid int)                       { f.answer("release", g, nil) }
func (f *fakeTracer) SignalOthers(g *tracer.Generation, pid int, sig unix.Signal) {}

func (f *fakeTracer) Execute(g *tracer.Generation, pid, n int, spec stage2.Spec, _ []*tracer.Held) (*tracer.Generation, error) {
	f.answer("execute", g, nil)
	if f.execute != nil {
		if err := f.execute(); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.live, g.Number)
	f.specs[n] = spec
	f.live[n] = &tracer.Generation{Number: n, Root: pid, Path: spec.Command[0]}
	return f.live[n], nil
}

func TestExec(t *testing.T) {
	r := start(t, func(c *Config, _ *fakeTracer) { c.Mode = Exec })
	events, _, err := r.Restart(RestartOptions{Env: []string{"A=2"}})
	if err != nil {
		t.Fatal(err)
	}
	r.asked("execute 1")
	r.serve(2)
	const want = "quiesced 1, drained 1, gone 1, starting 2, ready 2, serving 2, confirmed 2"
	if got := r.kinds(events); got != want {
		t.Errorf("told %s", got)
	}
	r.asked("launch 1", "settle 1", "quiesce 1", "keep 1", "execute 1", "forget 1", "settle 2")
	r.never("signal 1 SIGTERM")
	if st := r.Status(false); st.Generations[0].PID != 1001 || st.Generations[0].Number != 2 || len(r.specs[2].Env) != 2 {
		t.Errorf("%+v, %+v", st, r.specs[2])
	}
	r.end1(t, 2, 0x0300, 3)
}

// TestExecFails: the program goes on where it was.
func TestExecFails(t *testing.T) {
	r := start(t, func(_ *Config, f *fakeTracer) {
		f.execute = func() error {
			return &tracer.LaunchError{Step: "execve", Path: "prog", Errno: unix.ENOEXEC, Err: unix.ENOEXEC}
		}
	})
	events, _, err := r.Restart(RestartOptions{Mode: Exec})
	if err != nil {
		t.Fatal(err)
	}
	const want = "quiesced 1, drained 1, resumed 1, failed 2"
	if got := r.kinds(events); got != want {
		t.Errorf("told %s", got)
	}
	if e := r.await(EventFailed); e.Reason != "prog: not executable: exec format error; generation 1 serves on" {
		t.Error(e.Reason)
	}
	r.call(func() {
		if len(r.gens) != 1 || len(r.handovers) > 0 {
			t.Errorf("%d generations and %d handovers are left", len(r.gens), len(r.handovers))
		}
	})
	if _, _, err := r.Restart(RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	r.asked("resume 1", "launch 3")
}

// TestExecRefused: before anything is touched.
func TestExecRefused(t *testing.T) {
	r := start(t, func(_ *Config, f *fakeTracer) {
		f.canExecute = func() error { return errors.New("it gave up root") }
	})
	events, _, err := r.Restart(RestartOptions{Mode: Exec})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.kinds(events); got != "failed 2" {
		t.Errorf("told %s", got)
	}
	if e := r.await(EventFailed); e.Reason != "it gave up root; generation 1 serves on" {
		t.Error(e.Reason)
	}
	r.never("quiesce 1")
}

// TestExecDies: what it was executed in ended, so it gets a process of its own.
func TestExecDies(t *testing.T) {
	var f *fakeTracer
	r := start(t, func(c *Config, tr *fakeTracer) {
		f, c.Mode = tr, Exec
		tr.execute = func() error {
			f.end(1, unix.WaitStatus(unix.SIGKILL))
			return errors.New("the task ended")
		}
	})
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.asked("execute 1", "launch 2")
	r.serve(2)
	const want = "quiesced 1, drained 1, gone 1, warning 2, starting 2, ready 2, serving 2, confirmed 2"
	if got := r.kinds(events); got != want {
		t.Errorf("told %s", got)
	}
}

// TestRestartBeforeAttemptIsHeardOf: a restart comes while what served before is
// being launched again, which takes its time: there is no process yet that could
// get a signal. Once it is heard of, it goes, and the restart goes on.
func TestRestartBeforeAttemptIsHeardOf(t *testing.T) {
	slow := make(chan struct{})
	answer := sync.OnceFunc(func() { close(slow) })
	defer answer()
	r := start(t, func(c *Config, f *fakeTracer) {
		c.Mode = StopFirst
		f.launch = func(n int) error {
			if n == 3 {
				<-slow
			}
			return nil
		}
	})
	if _, _, err := r.Restart(RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	r.gen(2)
	r.fakeTracer.end(2, 0x0100)
	r.until("recovering", r.machine.Recovering)
	if _, _, err := r.Restart(RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := r.await(EventKilled); e.Generation != 3 {
		t.Errorf("killed %+v", e)
	}
	answer()
	r.asked("launch 3", "kill 3", "forget 3", "launch 4")
	r.never("signal 3 SIGTERM")
	// Connections wait in what is held, and it is for this one.
	r.call(func() {
		if len(r.handovers) != 1 || r.handovers[0].next != 4 || r.handovers[0].before == nil {
			t.Errorf("the handovers are %+v", r.handovers)
		}
	})
	// If it fails, what served first is started again.
	r.gen(4)
	r.fakeTracer.end(4, 0x0100)
	r.asked("launch 5")
	r.serve(5)
	r.until("running", func() bool { return r.machine.Serving() == 5 && !r.machine.Recovering() })
}
