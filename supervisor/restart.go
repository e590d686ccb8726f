package supervisor

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/generation"
)

// begin starts a restart, or says why none can.
func (s *Supervisor) begin(o RestartOptions) error {
	if s.machine.State() == "stopping" || s.ended {
		return ErrStopping
	}
	if busy := s.machine.Busy(); busy != "" {
		return fmt.Errorf("%w: %s", ErrBusy, busy)
	}
	switch {
	case s.listensNotYet():
		return inTheWay(fmt.Sprintf("generation %d listens on nothing yet; %v after its start (--ready-timeout), it is taken for a program that never does",
			s.machine.Serving(), s.cfg.ReadyTimeout))
	case s.machine.Serving() != 0 || s.machine.Reviving():
	case s.machine.Recovering():
	case s.machine.Next() == 2:
		return inTheWay("generation 1 is starting")
	default:
		return fmt.Errorf("%w: no generation of it serves any more", ErrStopping)
	}
	p := s.program.changed(o)
	if o.Rollback {
		if p = s.previous(); p == nil {
			return ErrNoPrevious
		}
	}
	s.systemd.reloading()
	s.step(s.wanted(p, o))
	return nil
}

// firstWait is how long a restart that is asked for waits for the first generation to
// listen, before it is refused: a client waits for an answer meanwhile.
const firstWait = 10 * time.Second

// listensNotYet reports whether the first generation may yet listen on something: a
// restart beside it would find nothing to take over, and nobody could tell whether
// the new version serves.
func (s *Supervisor) listensNotYet() bool {
	left, listens := s.machine.Rises(time.Now())
	return left > 0 && !listens && !s.hasSocket()
}

// hasSocket reports whether the serving generation has a socket that may be for
// clients: one that takes datagrams, say, on which nobody calls listen(), and which it
// may not have bound itself.
func (s *Supervisor) hasSocket() bool {
	g := s.gens[s.machine.Serving()]
	if g == nil || g.traced == nil {
		return false
	}
	sockets, _ := fdtable.DumpAll(fdtable.Listening)
	udp, _ := fdtable.DumpUDP(fdtable.Datagrams, 0)
	local, _ := fdtable.DumpUnix(fdtable.Datagrams)
	open := make(map[uint64]bool)
	for _, k := range slices.Concat(sockets, udp, local) {
		if k.Receives() {
			open[k.Inode] = true
		}
	}
	return len(ofProcesses(s.tracer.Pids(g.traced), open)) > 0
}

// awaitFirst waits a while for the first generation to listen.
func (s *Supervisor) awaitFirst() {
	for deadline := time.Now().Add(firstWait); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		waits := false
		if !s.call(func() { waits = s.machine.Busy() == "" && s.listensNotYet() }) || !waits {
			return
		}
	}
}

// Restart implements Restarter.
func (s *Supervisor) Restart(o RestartOptions) (<-chan Event, func(), error) {
	if err := o.Validate(); err != nil {
		return nil, func() {}, err
	}
	if o.Rolling != nil && *o.Rolling && s.member == nil {
		return nil, func() {}, badOptions("it runs one process: only what was started with --multi can be restarted one process after the other")
	}
	var sub *subscriber
	err := error(ErrStopping)
	s.awaitFirst()
	// Whoever asks is answered at once; what comes by a signal is looked at when
	// it is its turn (see prepare).
	var p *program
	if !s.call(func() { p = s.program }) {
		return nil, func() {}, err
	}
	if p2 := p.changed(o); p2 != p {
		if err := p2.check(); err != nil {
			return nil, func() {}, err
		}
	}
	s.call(func() {
		old := s.machine.Serving()
		sub = s.hub.subscribe()
		number := s.machine.Next()
		if err = s.begin(o); err != nil {
			s.hub.end(sub)
			return
		}
		s.awaitEnd(sub, number, old)
	})
	if err != nil {
		return nil, func() {}, err
	}
	events, cancel := follow(&s.hub, sub)
	return events, cancel, nil
}

// awaitEnd closes sub once restart number is decided and, if it succeeded, the
// old generation has gone.
func (s *Supervisor) awaitEnd(sub *subscriber, number, old int) {
	s.waiters = append(s.waiters, waiter{sub: sub, number: number, old: old})
}

type waiter struct {
	sub         *subscriber
	number, old int
	ok          bool
}

// serveWaiters looks which followed restarts are over, after e was published.
func (s *Supervisor) serveWaiters(e Event) {
	keep := s.waiters[:0]
	for _, w := range s.waiters {
		if e.Generation == w.number && e.Kind == EventFailed {
			s.hub.end(w.sub)
			continue
		}
		if e.Generation == w.number && e.Kind == EventConfirmed {
			w.ok = true
		}
		if w.ok && (s.machine.Gen(w.old) == nil) {
			s.hub.end(w.sub)
			continue
		}
		keep = append(keep, w)
	}
	s.waiters = keep
}

// Stop implements Restarter.
func (s *Supervisor) Stop() (<-chan Event, func()) {
	sub := s.hub.subscribe()
	if !s.call(func() { s.step(generation.StopWanted{Signal: int(unix.SIGTERM)}) }) {
		s.hub.end(sub)
	}
	return follow(&s.hub, sub)
}

// follow gives a client what sub is told, until it cancels.
func follow(h *hub, sub *subscriber) (<-chan Event, func()) {
	quit := make(chan struct{})
	var once sync.Once
	cancel := func() {
		once.Do(func() {
			close(quit)
			h.end(sub)
		})
	}
	return sub.channel(quit), cancel
}
