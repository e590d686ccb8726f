// Package supervisor runs an instance: it carries out what package generation
// decides, by a Tracer, and owns the clock.
//
// One goroutine owns all state. What takes long (a launch, a quiesce, counting
// connections) runs beside it and comes back as an event.
package supervisor

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/internal/fault"
	"hupt/stage2"
	"hupt/tracer"
)

// Tracer is what an instance needs of package tracer.
type Tracer interface {
	Launch(number int, spec stage2.Spec, held []*tracer.Held) (*tracer.Generation, error)
	Snapshot(g *tracer.Generation) ([]*tracer.Held, error)
	Look(g *tracer.Generation, have []*tracer.Held) ([]*tracer.Held, error)
	Merge(have, more []*tracer.Held) []*tracer.Held
	Quiesce(g *tracer.Generation, held []*tracer.Held, goes bool) (left []int, err error)
	MakeTwins(held []*tracer.Held)
	Opened(g *tracer.Generation) bool
	Late(g *tracer.Generation, held []*tracer.Held) (late []*tracer.Held, err error)
	OfferLate(g *tracer.Generation, late []*tracer.Held)
	Offered(held []*tracer.Held) (n, addresses int)
	NotKept(g *tracer.Generation) []string
	QuiesceRest(g *tracer.Generation, held []*tracer.Held) (left []int, err error)
	Resume(g *tracer.Generation, held []*tracer.Held) (left []int, err error)
	CanHold(g *tracer.Generation) bool
	Settle(g *tracer.Generation)
	Poke(g *tracer.Generation)
	SayClose(g *tracer.Generation, inodes map[uint64]bool, ports []uint16, step bool) (left []int, refused []string)
	Conns(g *tracer.Generation) map[uint64]tracer.Conn
	ForgetConns(g *tracer.Generation) (slow bool)
	Pids(g *tracer.Generation) []int
	Adopted(g *tracer.Generation) map[uint64]bool
	SocketPaths() map[uint64]string
	Caught(g *tracer.Generation) []*tracer.Held
	Guard(g *tracer.Generation, held []*tracer.Held) error
	Signal(g *tracer.Generation, pid int, sig unix.Signal) bool
	Had(g *tracer.Generation, pid int, sig unix.Signal, since time.Time) bool
	SignalAll(g *tracer.Generation, sig unix.Signal)
	Continue(g *tracer.Generation)
	Kill(g *tracer.Generation)
	Forget(g *tracer.Generation)
	CanExecute(g *tracer.Generation, pid int) error
	Keep(g *tracer.Generation, pid int)
	Release(g *tracer.Generation, pid int)
	SignalOthers(g *tracer.Generation, pid int, sig unix.Signal)
	Execute(g *tracer.Generation, pid, number int, spec stage2.Spec, held []*tracer.Held) (*tracer.Generation, error)
	Widen(held []*tracer.Held)
	Mend(held []*tracer.Held)
	CloseHeld(held []*tracer.Held) (lost int)
	Surplus(next *tracer.Generation, held []*tracer.Held) ([]*tracer.Held, error)
	Waiting(surplus []*tracer.Held) int
	LeaveTo(g *tracer.Generation, surplus []*tracer.Held)
	Part(surplus []*tracer.Held) (left []*tracer.Held)
	Rejoin(surplus []*tracer.Held)
	Share(g *tracer.Generation)
	Answers(g *tracer.Generation) (answers bool, last time.Time)
	Bound() map[uint64]bool
	Unread(g *tracer.Generation) bool
	Stats() (stops map[string]uint64, injected uint64)
	Admit(g *tracer.Generation)
	RunHelper(h tracer.Helper, ended func(unix.WaitStatus)) (kill func(), err error)
	LetGo(keep []*tracer.Generation)
	LastStops() []string
	Notes() []tracer.Note
	Wake() <-chan struct{}
}

// Supervisor is a running instance. It implements Restarter.
type Supervisor struct {
	cfg     Config
	tracer  Tracer
	signals stage2.Signals
	stdin   *stage2.Stdin
	started time.Time

	calls  chan func()           // run by the loop
	events chan generation.Event // from what runs beside it
	done   chan struct{}         // closed when the loop ended
	panics panics                // of what runs beside it, and of the tracer
	hub    hub
	member *member // that it is of a pool; nil: it is the instance itself

	// Below: the loop only.
	machine    *generation.Machine
	gens       map[int]*gen
	timers     map[generation.Timer]*time.Timer // the instance's
	program    *program                         // that the next generation executes
	history    []*program                       // those before it, the oldest first
	handovers  []*handover
	waiters    []waiter
	path       string
	outside    map[delivery]time.Time       // when the program last got a signal that hupt gets, too
	terminal   map[syscall.Signal]time.Time // when the terminal, or whoever sent it to hupt, last stopped it
	hangups    hangups
	stops      orders
	again      bool      // a restart signal came while a restart was in progress
	stopped    bool      // the program is in a group-stop
	stopsToo   bool      // …and hupt was, for that
	stopSelf   func()    // tests must not be stopped
	caughtStop time.Time // when hupt last caught a signal that stops
	late       bool      // one is still to be caught, of a stop that is over
	told       bool      // a signal that ends the program was caught
	code       int
	reason     string // how the generation that served last ended
	lastCall   string // of it that failed, if it never served
	ended      bool
	err        error

	pidfile        pidfile
	programPidfile pidfile
	systemd        systemd
	hooks          hooks
	keeper         keeper
	trial          trial
	warned         map[string]bool
}

// gen is what the supervisor keeps of a generation.
type gen struct {
	n       int
	traced  *tracer.Generation
	program *program
	path    string       // that was executed
	file    *file        // …as it was then; nil: it can't be kept
	again   string       // said of one that is started again
	main    int          // its first process, or the one that took its place
	speaker atomic.Int64 // the same, for hear, which runs beside the loop
	started time.Time
	early   []tracer.Note  // that came before its launch was heard of
	ready   bool           // its launch was heard of
	held    []*tracer.Held // that it is quiesced on
	serves  []tracer.Name  // what it was listening on when it was quiesced
	// surplus is sockets of its groups that its successor has no use for: it
	// accepts on them until their queues are empty. Written as unfinished is.
	surplus   []*tracer.Held
	unsteered bool        // they go on getting connections
	succeeded atomic.Bool // its successor is beyond its probation
	// unfinished: some process did not stop for the quiesce. Written before
	// Quiesced is told, read by the drain that follows.
	unfinished bool
	over       chan struct{}    // closed when it is forgotten
	executes   atomic.Bool      // its program is being executed
	cancel     chan struct{}    // closed when it is not to be launched any more
	exit       *generation.Exit // how its main process ended, once it has
	notify     *net.UnixConn    // the end of its NOTIFY_SOCKET; nil: it has none
	timers     map[generation.Timer]*time.Timer
	hurry      chan struct{} // wakes its drain: it may be final now
	conns      connections
	draining   chan struct{} // closed when its drain is over; nil: it does not drain
	ending     atomic.Bool   // it was told to end, or killed
}

func (g *gen) endDrain() {
	if g.draining != nil {
		close(g.draining)
		g.draining = nil
	}
}

// handover is the held sockets of a restart: they pass from old to next.
type handover struct {
	old, next int
	held      []*tracer.Held
	asides    []aside
	// before is what served before, in case it has to be started again: where
	// the old generation went first.
	before  *before
	decided bool
	ok      bool
}

// New makes an instance that Run will start. It fails with ErrPtraceForbidden
// where nothing can be traced.
func New(cfg Config) (*Supervisor, error) {
	if len(cfg.Command) == 0 {
		return nil, errors.New("no command")
	}
	program := initialProgram(cfg.Command)
	// Before anything asks for a signal but CatchEarly, which has noted how they stood.
	signals := stage2.InheritedSignals()
	var s *Supervisor
	tr, err := tracer.New(tracer.Options{RestartSignal: cfg.RestartSignal, KillAtExit: cfg.KillAtExit, Catch: cfg.revives(), ByWord: cfg.Ready.Kind == ReadyNotify,
		OnPanic: func(p *tracer.Panic, fatal bool) { s.mishap(p, fatal) }})
	if err != nil {
		return nil, mapLaunchError(err)
	}
	s = newSupervisor(cfg, tr, program, signals)
	return s, nil
}

func newSupervisor(cfg Config, tr Tracer, program *program, signals stage2.Signals) *Supervisor {
	return &Supervisor{
		cfg: cfg, tracer: tr, program: program, signals: signals, stdin: stage2.InheritedStdin(),
		started: time.Now(),
		calls:   make(chan func()),
		events:  make(chan generation.Event),
		done:    make(chan struct{}),
		panics:  newPanics(),
		machine: generation.New(generation.Policy{
			ReadyTimeout: cfg.ReadyTimeout,
			DrainTimeout: cfg.DrainTimeout,
			KillAfter:    cfg.KillAfter,
			BlindReady:   cfg.AllowIOUring,
			Ready:        cfg.Ready.policy(),
			WaitChildren: cfg.WaitChildren,
			Revive:       cfg.Revive,
			ReviveMax:    cfg.ReviveMax,
			ReviveDelay:  cfg.ReviveDelay,
			ReviveReset:  cfg.ReviveReset,
		}),
		gens:     make(map[int]*gen),
		timers:   make(map[generation.Timer]*time.Timer),
		outside:  make(map[delivery]time.Time),
		terminal: make(map[syscall.Signal]time.Time),
		stopSelf: func() { unix.Kill(unix.Getpid(), unix.SIGSTOP) },
	}
}

// Run launches the program and supervises it until it has ended. exitCode is
// the program's, 128+n if signal n killed it. An error means that it was never
// started, or that hupt can't go on; it wraps one of this package's.
func (s *Supervisor) Run() (exitCode int, err error) {
	defer close(s.done)
	if err := s.claimPidfiles(); err != nil {
		return exitInternal, err
	}
	s.systemd.upstream, s.systemd.mute = os.Getenv("NOTIFY_SOCKET"), s.member != nil
	if s.member == nil {
		s.systemd.up = s.cfg.Up
	}
	defer s.pidfile.remove()
	defer s.programPidfile.remove()
	reported := report(&s.hub, s.cfg.Report)
	var sigs <-chan os.Signal
	if s.member == nil { // else the pool gets them
		sigs = catch(s.signals, s.cfg.RestartSignal)
		lastResort(s.signals, s.tracer, s.done)
	}
	if p := s.loop(sigs); p != nil {
		return ExitPanic, s.letGo(p)
	}
	// Paths that the program unlinked while they were kept for its next
	// generation go now that there is none.
	for _, h := range s.handovers {
		s.tracer.CloseHeld(h.held)
	}
	s.tracer.CloseHeld(s.keeper.held)
	if s.err == nil {
		s.publish(Event{Kind: EventStopped, ExitCode: s.code, Reason: s.reason, LastCall: s.lastCall,
			Asked: s.wasAsked(sigs), Generation: s.machine.Next() - 1})
	}
	<-s.hooks.done()
	s.hub.endAll()
	select {
	case <-reported:
	case <-time.After(time.Second): // nobody reads what hupt writes
	}
	return s.code, s.err
}

// loop runs until the instance has ended. It is the one place where a panic of
// what it does, or of what runs beside it, is caught.
func (s *Supervisor) loop(sigs <-chan os.Signal) (p *tracer.Panic) {
	defer func() {
		if v := tracer.AsPanic(recover()); v != nil {
			p = v
		}
	}()
	s.step(s.wanted(s.program, RestartOptions{Mode: StartFirst}))
	for !s.ended {
		fault.Point("loop")
		select {
		case <-s.tracer.Wake():
			for _, n := range s.tracer.Notes() {
				s.note(n)
			}
		case ev := <-s.events:
			s.step(ev)
		case f := <-s.calls:
			f()
		case sig := <-sigs:
			s.caught(sig.(syscall.Signal))
		case p := <-s.panics:
			return p
		}
	}
	return nil
}

// report hands events to f on a goroutine of its own, so that a blocked stderr
// never holds a restart up. The channel is closed when the last was handed over.
func report(h *hub, f func(Event)) <-chan struct{} {
	finished := make(chan struct{})
	if f == nil {
		close(finished)
		return finished
	}
	sub := h.subscribe()
	go func() {
		defer close(finished)
		for q := sub.take(); len(q) > 0; q = sub.take() {
			for _, e := range q {
				f(e)
			}
		}
	}()
	return finished
}

// step tells the policy of an event and does what it says.
func (s *Supervisor) step(ev generation.Event) {
	actions := s.machine.Step(ev, time.Now())
	s.writeProgramPidfile()
	s.hooksOfQuiesced(ev)
	for _, a := range actions {
		s.act(a)
	}
	s.mayBeginAgain()
}

// later sends an event to the loop from beside it.
func (s *Supervisor) later(ev generation.Event) {
	select {
	case s.events <- ev:
	case <-s.done:
	}
}

// call runs f in the loop and waits. It reports false if the loop has ended.
func (s *Supervisor) call(f func()) bool {
	ran := make(chan struct{})
	select {
	case s.calls <- func() { f(); close(ran) }:
		select {
		case <-ran:
			return true
		case <-s.done: // it panicked
			return false
		}
	case <-s.done:
		return false
	}
}

func (s *Supervisor) publish(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if g := s.gens[e.Generation]; g != nil && e.PID == 0 {
		e.PID = g.main
	}
	s.hub.publish(e)
	s.serveWaiters(e)
}
