package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/stage2"
	"hupt/tracer"
)

// exitInternal is Run's exit code when hupt failed rather than the program.
const exitInternal = 125

// wanted makes the next generation, which is to execute p.
func (s *Supervisor) wanted(p *program, readyTimeout time.Duration) generation.RestartWanted {
	n := s.take()
	s.gens[n] = &gen{n: n, program: p, over: make(chan struct{}), cancel: make(chan struct{}), hurry: make(chan struct{}, 1),
		timers: make(map[generation.Timer]*time.Timer)}
	return generation.RestartWanted{N: n, ReadyTimeout: readyTimeout}
}

// prepare looks for what is wrong with generation n before anything is touched.
func (s *Supervisor) prepare(n int) {
	g := s.gens[n]
	hooks := s.beforeStart(g)
	go func() {
		err := g.program.check()
		for _, path := range s.cfg.Unlink {
			if err == nil && n > 1 {
				err = canMoveAside(path)
			}
		}
		if err == nil {
			err = hooks()
		}
		s.call(func() {
			if err != nil {
				s.launched(g, nil, 0, err)
				return
			}
			s.step(generation.Prepared{N: n})
		})
	}()
}

// launch starts generation n, which is to take over from the serving one.
func (s *Supervisor) launch(n int) {
	g := s.gens[n]
	g.started = time.Now()
	env, err := s.hangNotify(g)
	if err != nil {
		s.launched(g, nil, 0, err)
		return
	}
	old := s.gens[s.machine.Serving()]
	h := &handover{next: n}
	if old != nil {
		h.old = old.n
	}
	if n > 1 {
		s.handovers = append(s.handovers, h)
	}
	spec := stage2.Spec{
		Command: g.program.command, Env: env, Dir: g.program.dir, Launcher: os.Getpid(),
		Signals: s.signals, AllowIOUring: s.cfg.AllowIOUring,
	}
	go func() {
		var err error
		if old != nil {
			h.held, err = s.tracer.Snapshot(old.traced, nil)
		}
		var asides []aside
		if err == nil && n > 1 {
			asides, err = moveAside(s.cfg.Unlink, n)
		}
		var traced *tracer.Generation
		if err == nil {
			traced, err = s.tracer.Launch(n, spec, h.held)
		}
		s.call(func() {
			h.asides = asides
			if h.decided { // the instance was told to stop meanwhile
				h.decideAsides()
			}
			s.launched(g, traced, len(h.held), err)
		})
	}()
}

func (s *Supervisor) launched(g *gen, traced *tracer.Generation, offered int, err error) {
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
	g.main, g.ready = traced.Root, true
	s.path = traced.Path
	s.ask(g)
	if g.n == 1 {
		s.neverServes(g)
	}
	s.step(generation.Launched{N: g.n, Offered: offered})
	if traced.NoNewPrivs && g.n == 1 {
		s.publish(Event{Kind: EventWarning, Generation: g.n,
			Reason: "no_new_privs had to be set: set-uid programs and file capabilities have no effect under hupt; run it with CAP_SYS_ADMIN if the program needs them"})
	}
	if g.n == 1 && !s.tracer.CanHold(traced) {
		s.publish(Event{Kind: EventWarning, Generation: g.n,
			Reason: "no restart can succeed: pidfd_getfd is forbidden here; see hupt doctor (in Docker: --cap-add SYS_PTRACE)"})
	}
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

// environ is the environment as the kernel gave it; os.Environ drops what is
// there twice.
func environ() []string {
	b, err := os.ReadFile("/proc/self/environ")
	if err != nil || len(b) == 0 {
		return os.Environ()
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
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
