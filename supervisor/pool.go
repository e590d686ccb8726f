package supervisor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"hupt/internal/fault"
	"hupt/stage2"
	"hupt/tracer"
)

// Pool is an instance of several processes of one program (`run --multi`),
// each with generations of its own, that share their sockets. It implements
// Restarter.
type Pool struct {
	cfg     Config
	tracer  *tracer.Tracer
	signals stage2.Signals
	program *program
	started time.Time
	calls   chan func()
	done    chan struct{}
	panics  panics
	hub     hub
	pidfile pidfile

	// Below: the loop only.
	members   []*member
	next      int    // number of the next member
	work      string // what is being done to all of them; "": nothing
	again     bool   // a restart signal came meanwhile
	hangups   hangups
	stops     orders
	stopping  bool
	restarts  int
	rollbacks int
	cut       int // of members that have gone
	systemd   systemd
	code      int
	reason    string // of the end of the last process that was not to go
	lastCall  string
	ran       bool // some process was started
	err       error
}

// ErrNoPool is what Scale answers where a single process runs.
var ErrNoPool = errors.New("it runs one process: only one that was started with --multi can be scaled")

// MaxProcesses bounds a pool: a number beyond is a slip of the finger.
const MaxProcesses = 1024

// NewPool makes an instance of cfg.Multi processes that Run will start.
func NewPool(cfg Config) (*Pool, error) {
	if len(cfg.Command) == 0 {
		return nil, errors.New("no command")
	}
	program := initialProgram(cfg.Command)
	signals := stage2.InheritedSignals()
	p := &Pool{
		cfg: cfg, signals: signals, program: program, started: time.Now(), next: 1,
		calls: make(chan func()), done: make(chan struct{}), panics: newPanics(),
	}
	var err error
	p.tracer, err = tracer.New(tracer.Options{RestartSignal: cfg.RestartSignal, ReusePort: true, KillAtExit: cfg.KillAtExit, Catch: cfg.revives(), ByWord: cfg.Ready.Kind == ReadyNotify, OnPanic: p.mishap})
	if err != nil {
		return nil, mapLaunchError(err)
	}
	return p, nil
}

// Run starts the processes and supervises them until the last has ended. The
// exit code is that of the last; an error means that none was ever started.
func (p *Pool) Run() (exitCode int, err error) {
	defer close(p.done)
	if err := p.pidfile.claim(p.cfg.Pidfile); err != nil {
		return exitInternal, err
	}
	if err := p.pidfile.write(os.Getpid()); err != nil {
		return exitInternal, err
	}
	defer p.pidfile.remove()
	p.systemd.up = p.cfg.Up
	p.systemd.upstream = os.Getenv("NOTIFY_SOCKET")
	reported := report(&p.hub, p.cfg.Report)
	sigs := catch(p.signals, p.cfg.RestartSignal)
	lastResort(p.signals, p.tracer, p.done)
	if failed := p.loop(sigs); failed != nil {
		return ExitPanic, p.letGo(failed)
	}
	if p.ran {
		p.err = nil
	}
	if p.err == nil {
		p.hub.publish(Event{Time: time.Now(), Kind: EventStopped, ExitCode: p.code, Reason: p.reason, LastCall: p.lastCall, Asked: p.stopping})
	}
	p.hub.endAll()
	select {
	case <-reported:
	case <-time.After(time.Second): // nobody reads what hupt writes
	}
	return p.code, p.err
}

// loop runs until the last process has ended. It is the one place where a panic
// of what it does, or of what runs beside it, is caught.
func (p *Pool) loop(sigs <-chan os.Signal) (failed *tracer.Panic) {
	defer func() {
		if v := tracer.AsPanic(recover()); v != nil {
			failed = v
		}
	}()
	for range p.cfg.Multi {
		p.grow()
	}
	for len(p.members) > 0 {
		fault.Point("pool")
		select {
		case f := <-p.calls:
			f()
		case sig := <-sigs:
			p.caught(sig.(syscall.Signal))
		case failed := <-p.panics:
			return failed
		}
	}
	return nil
}

// grow starts one more process.
func (p *Pool) grow() *member {
	cfg := p.cfg
	cfg.Pidfile = "" // it is the pool's
	m := &member{number: p.next, pool: p, started: make(chan struct{}), serves: make(chan struct{}), ended: make(chan struct{})}
	cfg.Report = m.told
	m.Supervisor = newSupervisor(cfg, p.tracer.Branch(), p.program, p.signals)
	m.Supervisor.member = m
	p.next++
	p.members = append(p.members, m)
	p.panics.beside(func() {
		code, err := m.Run()
		close(m.ended)
		if e := (*InternalError)(nil); errors.As(err, &e) {
			p.panics.put(e.Panic)
			return
		}
		p.call(func() { p.gone(m, code, err) })
	})
	return m
}

// gone: a process and all its generations have ended.
func (p *Pool) gone(m *member, code int, err error) {
	p.members = slices.DeleteFunc(p.members, func(x *member) bool { return x == m })
	p.cut += m.machine.Cut
	switch {
	case m.retiring:
	case err == nil:
		p.code, p.reason, p.lastCall = code, m.reason, m.lastCall
	case m.served || !p.ran: // else it is no process that ended
		p.code, p.reason, p.lastCall = code, err.Error(), m.lastCall
	}
	switch {
	case err != nil && (m.served || p.ran && len(p.members) == 0): // Run does not fail for it
		p.publish(Event{Kind: EventWarning, Process: m.number, Reason: err.Error()})
	case err != nil:
		p.err = err
	default:
		p.ran = true
	}
	left := p.staying()
	if !p.stopping && !m.retiring && len(left) > 0 {
		why := m.reason
		if err != nil {
			why = err.Error()
		}
		p.publish(Event{Kind: EventWarning, Process: m.number, Reason: fmt.Sprintf("process %d ended: %s; %d of %d are left", m.number, why, len(left), p.cfg.Multi)})
	}
}

// stop: every process is to end.
func (p *Pool) stop() {
	p.stopping = true
	p.systemd.say(daemon.SdNotifyStopping)
}

func (p *Pool) publish(e Event) {
	e.Time = time.Now()
	p.hub.publish(e)
}

// call runs f in the loop and waits. It reports false if the loop has ended.
// A member's loop must not call it: the pool's may be calling the member's.
func (p *Pool) call(f func()) bool {
	ran := make(chan struct{})
	select {
	case p.calls <- func() { f(); close(ran) }:
		select {
		case <-ran:
			return true
		case <-p.done: // it panicked
			return false
		}
	case <-p.done:
		return false
	}
}

// caught: somebody sent hupt a signal.
func (p *Pool) caught(sig syscall.Signal) {
	switch sig {
	case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
		if p.stops.again(time.Now()) {
			return
		}
		p.stop()
	case p.cfg.RestartSignal:
		p.hup(0)
		return
	}
	for _, m := range p.members {
		if m.retiring && p.stopping {
			m.hammer()
			continue
		}
		m.call(func() { m.Supervisor.caught(sig) })
	}
}

// hup begins a restart, once for signals that came together: killall sends one
// to every process and to hupt.
func (p *Pool) hup(sender int) {
	if p.hangups.again(sender, time.Now()) {
		return
	}
	_, cancel, err := p.begin(RestartOptions{})
	cancel()
	if errors.Is(err, ErrBusy) {
		p.again = true
		err = fmt.Errorf("%w; another one follows", err)
	}
	if err != nil {
		p.publish(Event{Kind: EventWarning, Reason: err.Error()})
	}
}

// pids is the processes of every member but one.
func (p *Pool) pids(but *member) (pids []int) {
	var others []*member
	p.call(func() { others = slices.Clone(p.members) })
	for _, m := range others {
		if m != but {
			pids = append(pids, m.traced()...)
		}
	}
	return pids
}

// Stop implements Restarter.
func (p *Pool) Stop() (<-chan Event, func()) {
	sub := p.hub.subscribe()
	if !p.call(func() {
		p.stop()
		for _, m := range p.members {
			if m.retiring {
				m.hammer()
			} else {
				m.end(unix.SIGTERM)
			}
		}
	}) {
		p.hub.end(sub)
	}
	return follow(&p.hub, sub)
}

// Status implements Restarter.
func (p *Pool) Status(connections bool) Status {
	st := Status{PID: os.Getpid(), Version: p.cfg.Version, Name: p.cfg.Name, Started: p.started, State: "running"}
	var members []*member
	p.call(func() {
		members = slices.Clone(p.members)
		st.Command, st.Dir, st.Processes = p.program.command, p.program.dir, p.cfg.Multi
		st.Restarts, st.Rollbacks, st.Cut = p.restarts, p.rollbacks, p.cut
		switch {
		case p.stopping:
			st.State = "stopping"
		case p.work != "":
			st.State = p.work
		}
	})
	all := make([]Status, len(members))
	var wg sync.WaitGroup
	failures := newPanics()
	for n, m := range members {
		wg.Go(func() {
			defer failures.catch()
			all[n] = m.Supervisor.Status(connections)
		})
	}
	wg.Wait()
	select {
	case p := <-failures: // it is told; whoever asks must not take what there is for an answer
		panic(p)
	default:
	}
	for n, one := range all {
		st.Cut += one.Cut
		st.Stops, st.Injected = one.Stops, one.Injected // of the tracer that they share
		if n == 0 {
			st.Command, st.Previous, st.Path, st.Dir = one.Command, one.Previous, one.Path, one.Dir
		}
		for _, g := range one.Generations {
			g.Process = members[n].number
			st.Generations = append(st.Generations, g)
		}
	}
	return st
}
