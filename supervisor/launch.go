package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/internal/fault"
	"hupt/stage2"
	"hupt/tracer"
)

// exitInternal is Run's exit code when hupt failed rather than the program.
const exitInternal = 125

// wanted makes the next generation, which is to execute p.
func (s *Supervisor) wanted(p *program, o RestartOptions) generation.RestartWanted {
	n := s.machine.Next()
	m := cmp.Or(o.Mode, s.cfg.Mode)
	s.bear(n, p)
	s.trial = trial{number: n, program: p, mode: m}
	return generation.RestartWanted{N: n, Mode: m.policy(), ReadyTimeout: o.ReadyTimeout, Addresses: s.cfg.addresses(o)}
}

func (s *Supervisor) bear(n int, p *program) *gen {
	g := &gen{n: n, program: p, over: make(chan struct{}), timers: make(map[generation.Timer]*time.Timer), hurry: make(chan struct{}, 1), cancel: make(chan struct{})}
	s.gens[n] = g
	return g
}

// prepare looks for what is wrong with generation n before anything is touched,
// and takes hold of the sockets that it is to get if the serving one is to go
// before it comes.
func (s *Supervisor) prepare(a generation.Prepare) {
	n, g := a.N, s.gens[a.N]
	old := s.gens[s.machine.Serving()]
	hooks := s.beforeStart(g)
	pid := 0
	if old != nil {
		pid = old.main
	}
	s.beside(func() {
		fault.Point("prepare")
		err := g.program.check()
		for _, path := range s.cfg.Unlink {
			if err == nil && n > 1 {
				err = canMoveAside(path)
			}
		}
		if err == nil {
			err = hooks()
		}
		var held []*tracer.Held
		first := old != nil && a.Mode != generation.StartFirst
		if err == nil && first && a.Mode == generation.Exec {
			err = s.tracer.CanExecute(old.traced, pid)
		}
		if err == nil && first {
			held, err = s.snapshot(old)
			s.tracer.Widen(held)
		}
		s.call(func() {
			if err != nil {
				s.tracer.CloseHeld(held)
				s.launched(g, nil, 0, 0, err)
				return
			}
			if first {
				s.handovers = append(s.handovers, &handover{old: old.n, next: n, held: held, before: old.before()})
			}
			s.step(generation.Prepared{N: n})
		})
	})
}

// handoverTo finds the sockets that generation n is to get, or makes a place
// for them. What came after one that had to go first gets what is held since.
func (s *Supervisor) handoverTo(n int) *handover {
	for _, h := range s.handovers {
		if h.next == n {
			return h
		}
	}
	old := s.gens[s.machine.Serving()]
	if last := len(s.handovers) - 1; old == nil && last >= 0 && s.handovers[last].before != nil {
		h := s.handovers[last]
		h.next, h.decided = n, false
		return h
	}
	h := &handover{next: n}
	if old != nil {
		h.old = old.n
	}
	// To a revival nothing is handed over: it gets what is kept.
	if n > 1 && !s.machine.Revival(n) {
		s.handovers = append(s.handovers, h)
	}
	return h
}

// snapshot takes hold of what a generation listens on, for its successor. It may end
// by itself before it is quiesced: from here on it takes no path along. What is in
// the way of that is told of when it is quiesced.
func (s *Supervisor) snapshot(g *gen) ([]*tracer.Held, error) {
	held, err := s.tracer.Snapshot(g.traced)
	if err == nil {
		s.tracer.MakeTwins(held)
		_ = s.tracer.Guard(g.traced, held)
	}
	return held, err
}

// launch starts a generation, which is to take over from the serving one, or
// from one that served.
func (s *Supervisor) launch(a generation.Launch) {
	n := a.N
	old := s.gens[s.machine.Serving()]
	h := s.handoverTo(n)
	if a.Again > 0 && h.before == nil { // never, as far as is known; then by what was asked for last
		h.before = &before{program: s.program}
	}
	g := s.gens[n]
	if g == nil {
		g = s.bear(n, h.before.program)
	}
	g.started = time.Now()
	revival := s.machine.Revival(n)
	var kept []*tracer.Held
	if old == nil && a.Again == 0 {
		kept = s.keeper.held
	}
	spec, err := s.spec(g)
	if err != nil {
		s.launched(g, nil, 0, 0, err)
		return
	}
	held, moved := h.held, h.asides != nil
	s.beside(func() {
		var err error
		if old != nil && h.old == old.n && held == nil {
			held, err = s.snapshot(old)
		}
		clean := func() {}
		var asides []aside
		if a.Again > 0 {
			s.tracer.Mend(held) // what the one that failed did to them
			s.tracer.Widen(held)
			h.removeLeftovers()
			clean = h.before.choose(&spec, a.Again)
		}
		if err == nil && n > 1 && !moved {
			asides, err = moveAside(s.cfg.Unlink, n)
		}
		var traced *tracer.Generation
		offered, addresses := 0, 0
		if err == nil {
			offers := held
			if offers == nil {
				offers = kept
			}
			offered, addresses = s.tracer.Offered(offers)
			g.executes.Store(true)
			fault.Point("launch")
			traced, err = s.tracer.Launch(n, spec, offers)
			fault.Point("launched")
		}
		clean()
		if !s.call(func() {
			h.held = held
			if h.decided && !h.ok {
				s.tracer.Mend(held) // what is mended at that decision was not known yet
			}
			if asides != nil {
				h.asides = asides
			}
			if revival { // nobody is left who could want them back
				h.decided, h.ok = true, true
			}
			if h.decided { // the instance was told to stop meanwhile
				h.decideAsides()
			}
			if a.Again > 0 {
				g.again = "the version before, again"
				if spec.File != "" {
					g.again += ", from the file that was executed then"
					g.path, g.file = h.before.path, h.before.file
				}
			}
			s.launched(g, traced, offered, addresses, err)
			if !slices.Contains(s.handovers, h) {
				s.tracer.CloseHeld(held) // it was over before they were known
			}
		}) {
			s.tracer.CloseHeld(held)
		}
	})
}

// spec is what generation g is to execute.
func (s *Supervisor) spec(g *gen) (stage2.Spec, error) {
	env, err := s.hangNotify(g)
	stdin := s.stdin
	if g.n == 1 {
		stdin = nil // it shares the offset with whoever started hupt, as without it
	}
	return stage2.Spec{
		Stdin:   stdin,
		Command: g.program.command, Env: env, Dir: g.program.dir, Launcher: cmp.Or(s.cfg.Launcher, os.Getpid()),
		Signals: s.signals, AllowIOUring: s.cfg.AllowIOUring,
	}, err
}

func (s *Supervisor) launched(g *gen, traced *tracer.Generation, offered, addresses int, err error) {
	g.traced = traced
	if err != nil {
		err = mapLaunchError(err)
		if g.n == 1 {
			s.err, s.code = err, exitInternal
			s.ended = true
			return
		}
		s.step(generation.LaunchFailed{N: g.n, Reason: err.Error()})
		s.forget(g.n)
		return
	}
	s.begun(g)
	s.step(generation.Launched{N: g.n, Offered: offered, Addresses: addresses})
	if traced.NoNewPrivs && g.n == 1 {
		s.publish(Event{Kind: EventWarning, Generation: g.n,
			Reason: "no_new_privs had to be set: set-uid programs and file capabilities have no effect under hupt; run it with CAP_SYS_ADMIN if the program needs them"})
	}
	if g.n == 1 && !s.tracer.CanHold(traced) {
		s.publish(Event{Kind: EventWarning, Generation: g.n,
			Reason: "no restart can succeed: pidfd_getfd is forbidden here; see hupt doctor (in Docker: --cap-add SYS_PTRACE)"})
	}
	s.tellEarly(g)
}

// begun: generation g executes its program.
func (s *Supervisor) begun(g *gen) {
	g.setMain(g.traced.Root)
	g.ready = true
	if g.file == nil {
		g.path = g.traced.Path
		g.keepFile()
	} else if g.traced.Executable != nil {
		g.traced.Executable.Close() // that file, once more
	}
	s.path = g.path
	s.ask(g)
	if g.n == 1 {
		s.neverServes(g)
	}
}

// tellEarly tells what generation g did before it was known.
func (s *Supervisor) tellEarly(g *gen) {
	early := g.early
	g.early = nil
	for _, n := range early {
		s.note(n)
	}
}

// mapLaunchError turns what the tracer and stage 2 say into this package's
// errors.
func mapLaunchError(err error) error {
	if errors.Is(err, tracer.ErrForbidden) {
		return fmt.Errorf("%w: %w", ErrPtraceForbidden, err)
	}
	var le *tracer.LaunchError
	if !errors.As(err, &le) {
		return err
	}
	switch {
	case le.Step == "seccomp":
		return fmt.Errorf("%w: %w", ErrSeccompMissing, le)
	case le.Step == "chdir":
		return fmt.Errorf("change to the working directory %s: %s", le.Path, le.Errno.Error())
	case le.Step == "lookup" && (le.Errno == unix.ENOENT || le.Errno == unix.ENOTDIR):
		return fmt.Errorf("%s: %w", le.Path, ErrNotFound)
	case le.Step == "execve" && le.Errno == unix.ENOENT:
		// The file is there, its interpreter is not.
		return fmt.Errorf("%s: %w: its interpreter was not found", le.Path, ErrNotExecutable)
	case le.Step == "lookup" || le.Step == "execve":
		return fmt.Errorf("%s: %w: %w", le.Path, ErrNotExecutable, le.Errno)
	}
	return le
}

// exitOf tells how a process ended, as a shell would and in words.
func exitOf(ws unix.WaitStatus) generation.Exit {
	switch {
	case ws.Signaled():
		name := unix.SignalName(ws.Signal())
		if name == "" {
			name = fmt.Sprintf("signal %d", int(ws.Signal()))
		}
		return generation.Exit{Code: 128 + int(ws.Signal()), Reason: "was killed by " + name}
	default:
		return generation.Exit{Code: ws.ExitStatus(), Reason: fmt.Sprintf("exited with status %d", ws.ExitStatus())}
	}
}
