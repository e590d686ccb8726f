package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/internal/machine"
	"hupt/stage2"
	"hupt/tracer"
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
	os.Exit(m.Run())
}

// fakeTracer has programs of one process each, which end when they are told
// to. It writes down what is asked of it: "launch 2", "signal 1 terminated"…
type fakeTracer struct {
	wake chan struct{}

	mu       sync.Mutex
	calls    []string
	notes    []tracer.Note
	live     map[int]*tracer.Generation
	specs    map[int]stage2.Spec
	coming   unix.Signal // what a program is about to get
	stubborn bool        // they end at SIGKILL only

	launch     func(n int) error     // before a launch
	quiesce    func() ([]int, error) // answers
	resume     func() ([]int, error)
	execute    func() error
	canExecute func() error
}

func newFakeTracer() *fakeTracer {
	return &fakeTracer{wake: make(chan struct{}, 1), live: make(map[int]*tracer.Generation), specs: make(map[int]stage2.Spec)}
}

func (f *fakeTracer) wrote(format string, args ...any) {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// done is what was asked of it so far, without what is asked again and again.
func (f *fakeTracer) done() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, "; ")
}

func (f *fakeTracer) tell(notes ...tracer.Note) {
	f.mu.Lock()
	f.notes = append(f.notes, notes...)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *fakeTracer) lives(n int) *tracer.Generation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live[n]
}

// gen waits until generation n was launched.
func (f *fakeTracer) gen(n int) *tracer.Generation {
	for deadline := time.Now().Add(machine.Patience(10 * time.Second)); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if g := f.lives(n); g != nil {
			return g
		}
	}
	panic(fmt.Sprintf("generation %d was never launched", n))
}

// serve lets generation n listen and wait on a socket.
func (f *fakeTracer) serve(n int) {
	f.tell(tracer.Note{Kind: tracer.NoteProgress, Generation: f.gen(n), Progress: tracer.Progress{Listening: 1, Waiting: 1}})
}

// end ends generation n.
func (f *fakeTracer) end(n int, status unix.WaitStatus) {
	f.mu.Lock()
	g := f.live[n]
	delete(f.live, n)
	f.mu.Unlock()
	if g != nil {
		f.tell(tracer.Note{Kind: tracer.NoteExit, Generation: g, PID: g.Root, Status: status, Last: true})
	}
}

func (f *fakeTracer) Launch(n int, spec stage2.Spec, held []*tracer.Held) (*tracer.Generation, error) {
	if f.launch != nil {
		if err := f.launch(n); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrote("launch %d", n)
	f.specs[n] = spec
	f.live[n] = &tracer.Generation{Number: n, Root: 1000 + n, Path: spec.Command[0]}
	return f.live[n], nil
}

func (f *fakeTracer) Offered(held []*tracer.Held) (n, addresses int) { return len(held), 0 }

func (f *fakeTracer) NotKept(*tracer.Generation) []string { return nil }

func (f *fakeTracer) Snapshot(*tracer.Generation) ([]*tracer.Held, error) { return nil, nil }

func (f *fakeTracer) Look(*tracer.Generation, []*tracer.Held) ([]*tracer.Held, error) {
	return nil, nil
}

func (f *fakeTracer) Caught(*tracer.Generation) []*tracer.Held { return nil }

func (f *fakeTracer) Merge(have, more []*tracer.Held) []*tracer.Held {
	return append(slices.Clone(have), more...)
}

func (f *fakeTracer) answer(what string, g *tracer.Generation, answer func() ([]int, error)) ([]int, error) {
	f.mu.Lock()
	f.wrote("%s %d", what, g.Number)
	f.mu.Unlock()
	if answer == nil {
		return nil, nil
	}
	return answer()
}

func (f *fakeTracer) MakeTwins([]*tracer.Held) {}

func (f *fakeTracer) Opened(*tracer.Generation) bool { return false }

func (f *fakeTracer) Late(*tracer.Generation, []*tracer.Held) ([]*tracer.Held, error) {
	return nil, nil
}

func (f *fakeTracer) OfferLate(*tracer.Generation, []*tracer.Held) {}

func (f *fakeTracer) Quiesce(g *tracer.Generation, _ []*tracer.Held, _ bool) ([]int, error) {
	return f.answer("quiesce", g, f.quiesce)
}

func (f *fakeTracer) QuiesceRest(g *tracer.Generation, _ []*tracer.Held) ([]int, error) {
	return f.answer("quiesce the rest of", g, nil)
}

func (f *fakeTracer) Resume(g *tracer.Generation, _ []*tracer.Held) ([]int, error) {
	return f.answer("resume", g, f.resume)
}

func (f *fakeTracer) Surplus(*tracer.Generation, []*tracer.Held) ([]*tracer.Held, error) {
	return nil, nil
}

func (f *fakeTracer) Settle(g *tracer.Generation) { f.answer("settle", g, nil) }

func (f *fakeTracer) Signal(g *tracer.Generation, pid int, sig unix.Signal) bool {
	f.mu.Lock()
	f.wrote("signal %d %s", g.Number, unix.SignalName(sig))
	stubborn := f.stubborn
	sent := f.live[g.Number] != nil && pid == g.Root
	f.mu.Unlock()
	if sent && !stubborn && (sig == unix.SIGTERM || sig == unix.SIGINT || sig == unix.SIGQUIT) {
		f.end(g.Number, unix.WaitStatus(sig))
	}
	return sent
}

func (f *fakeTracer) willGet(sig unix.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.coming = sig
}

func (f *fakeTracer) Had(_ *tracer.Generation, _ int, sig unix.Signal, _ time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.coming == sig
}

func (f *fakeTracer) SignalAll(g *tracer.Generation, sig unix.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrote("signal all %d %s", g.Number, unix.SignalName(sig))
}

func (f *fakeTracer) Kill(g *tracer.Generation) {
	f.answer("kill", g, nil)
	f.end(g.Number, unix.WaitStatus(unix.SIGKILL))
}

func (f *fakeTracer) Forget(g *tracer.Generation) { f.answer("forget", g, nil) }

func (f *fakeTracer) Pids(g *tracer.Generation) []int {
	if f.lives(g.Number) == nil {
		return nil
	}
	return []int{g.Root}
}

func (f *fakeTracer) Admit(g *tracer.Generation) { f.answer("admit", g, nil) }

// RunHelper really runs it: here nobody else waits for children.
func (f *fakeTracer) RunHelper(h tracer.Helper, ended func(unix.WaitStatus)) (func(), error) {
	cmd := exec.Command(h.Argv[0], h.Argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = h.Env, h.Dir, h.Output, h.Output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		cmd.Wait()
		ended(unix.WaitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)))
	}()
	return func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }, nil
}

func (f *fakeTracer) CanHold(*tracer.Generation) bool                 { return true }
func (f *fakeTracer) Poke(*tracer.Generation)                         {}
func (f *fakeTracer) Conns(*tracer.Generation) map[uint64]tracer.Conn { return nil }
func (f *fakeTracer) ForgetConns(*tracer.Generation) bool             { return false }
func (f *fakeTracer) SayClose(*tracer.Generation, map[uint64]bool, []uint16, bool) ([]int, []string) {
	return nil, nil
}
func (f *fakeTracer) Continue(*tracer.Generation)                    {}
func (f *fakeTracer) Adopted(*tracer.Generation) map[uint64]bool     { return nil }
func (f *fakeTracer) CloseHeld([]*tracer.Held) int                   { return 0 }
func (f *fakeTracer) LeaveTo(*tracer.Generation, []*tracer.Held)     {}
func (f *fakeTracer) Waiting([]*tracer.Held) int                     { return 0 }
func (f *fakeTracer) Part([]*tracer.Held) []*tracer.Held             { return nil }
func (f *fakeTracer) Rejoin([]*tracer.Held)                          {}
func (f *fakeTracer) Share(*tracer.Generation)                       {}
func (f *fakeTracer) Widen([]*tracer.Held)                           {}
func (f *fakeTracer) Guard(*tracer.Generation, []*tracer.Held) error { return nil }
func (f *fakeTracer) SocketPaths() map[uint64]string                 { return nil }
func (f *fakeTracer) Mend([]*tracer.Held)                            {}
func (f *fakeTracer) Stats() (map[string]uint64, uint64)             { return map[string]uint64{"clone": 3}, 7 }
func (f *fakeTracer) Wake() <-chan struct{}                          { return f.wake }
func (f *fakeTracer) Answers(*tracer.Generation) (bool, time.Time)   { return false, time.Time{} }
func (f *fakeTracer) Bound() map[uint64]bool                         { return nil }
func (f *fakeTracer) Unread(*tracer.Generation) bool                 { return false }

func (f *fakeTracer) LastStops() []string { return []string{"the last one"} }

func (f *fakeTracer) LetGo([]*tracer.Generation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrote("let go")
}

func (f *fakeTracer) Notes() []tracer.Note {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.notes
	f.notes = nil
	return q
}

// run is a supervisor on a fakeTracer.
type run struct {
	*Supervisor
	*fakeTracer
	t    *testing.T
	end  chan struct{}
	code int
	err  error
	told chan Event
}

// start runs a supervisor whose first generation serves.
func start(t *testing.T, change ...func(*Config, *fakeTracer)) *run {
	t.Helper()
	r := begin(t, change...)
	r.await(EventStarting)
	r.serve(1)
	r.await(EventServing)
	return r
}

// begin runs a supervisor.
func begin(t *testing.T, change ...func(*Config, *fakeTracer)) *run {
	t.Helper()
	r := &run{fakeTracer: newFakeTracer(), t: t, end: make(chan struct{}), told: make(chan Event, 1000)}
	cfg := Config{
		Command: []string{"true"}, ReadyTimeout: time.Minute, DrainTimeout: time.Minute, KillAfter: time.Minute, HookTimeout: time.Minute,
		StopSignal: unix.SIGTERM, RestartSignal: unix.SIGHUP, Report: func(e Event) { r.told <- e },
	}
	for _, f := range change {
		f(&cfg, r.fakeTracer)
	}
	r.Supervisor = &Supervisor{
		cfg: cfg, tracer: r.fakeTracer, program: &program{command: cfg.Command, env: []string{"PATH=/bin", "A=1"}, dir: "/"}, started: time.Now(),
		calls: make(chan func()), events: make(chan generation.Event), done: make(chan struct{}), panics: newPanics(),
		machine: generation.New(generation.Policy{ReadyTimeout: cfg.ReadyTimeout, DrainTimeout: cfg.DrainTimeout, KillAfter: cfg.KillAfter, Ready: cfg.Ready.policy(), WaitChildren: cfg.WaitChildren,
			Revive: cfg.Revive, ReviveMax: cfg.ReviveMax, ReviveDelay: cfg.ReviveDelay, ReviveReset: cfg.ReviveReset}),
		gens: make(map[int]*gen), timers: make(map[generation.Timer]*time.Timer), outside: make(map[delivery]time.Time),
		terminal: make(map[syscall.Signal]time.Time), stopSelf: func() {},
	}
	go func() {
		defer close(r.end)
		r.code, r.err = r.Run()
	}()
	t.Cleanup(func() {
		r.mu.Lock()
		r.stubborn = false
		r.mu.Unlock()
		r.stop()
		r.stop() // the second one kills
		r.finish()
	})
	return r
}

func (r *run) stop() {
	r.call(func() { r.step(generation.StopWanted{Signal: int(unix.SIGTERM)}) })
}

// await waits until the reporter is told an event of this kind.
func (r *run) await(kind EventKind) Event {
	r.t.Helper()
	deadline := time.After(machine.Patience(10 * time.Second))
	for {
		select {
		case e := <-r.told:
			if e.Kind == kind {
				return e
			}
		case <-deadline:
			r.t.Fatalf("never told %q; asked of the tracer: %s", kind, r.fakeTracer.done())
		}
	}
}

// until waits for something about the loop's state.
func (r *run) until(what string, is func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		yes := false
		r.call(func() { yes = is() })
		if yes {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("never %s; asked of the tracer: %s", what, r.fakeTracer.done())
		}
	}
}

// finish waits for the end of Run.
func (r *run) finish() (int, error) {
	r.t.Helper()
	select {
	case <-r.end:
	case <-time.After(machine.Patience(10 * time.Second)):
		r.t.Fatalf("it does not end; asked of the tracer: %s", r.fakeTracer.done())
	}
	return r.code, r.err
}

// asked waits until the tracer was asked all of these, in this order.
func (r *run) asked(want ...string) {
	r.t.Helper()
	for deadline := time.Now().Add(machine.Patience(10 * time.Second)); ; time.Sleep(time.Millisecond) {
		got := strings.Split(r.fakeTracer.done(), "; ")
		rest := want
		for _, g := range got {
			if len(rest) > 0 && g == rest[0] {
				rest = rest[1:]
			}
		}
		if len(rest) == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the tracer was asked %q, not %q", got, want)
		}
	}
}

// never checks that the tracer was not asked this.
func (r *run) never(what string) {
	r.t.Helper()
	if slices.Contains(strings.Split(r.fakeTracer.done(), "; "), what) {
		r.t.Errorf("the tracer was asked: %s", r.fakeTracer.done())
	}
}

// kinds reads a stream to its end: "starting 2, ready 2…".
func (r *run) kinds(events <-chan Event) string {
	r.t.Helper()
	var out []string
	for deadline := time.After(machine.Patience(10 * time.Second)); ; {
		select {
		case e, ok := <-events:
			if !ok {
				return strings.Join(out, ", ")
			}
			out = append(out, fmt.Sprintf("%s %d", e.Kind, e.Generation))
		case <-deadline:
			r.t.Fatalf("the stream does not end after %q", out)
		}
	}
}
