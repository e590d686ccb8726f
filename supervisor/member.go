package supervisor

import (
	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/tracer"
)

// member is one process of a pool, with generations of its own.
type member struct {
	*Supervisor
	number   int
	pool     *Pool
	retiring bool          // it was told to finish and go
	started  chan struct{} // closed when its program was executed
	serves   chan struct{}
	ended    chan struct{}
	begun    bool
	served   bool
}

// retire ends the instance as an old generation ends: it accepts no more,
// finishes its connections, and is told to stop. It must be one of several
// that share their sockets.
func (s *Supervisor) retire() {
	s.call(func() {
		g := s.gens[s.machine.Serving()]
		if g == nil {
			s.step(generation.StopWanted{Signal: int(s.cfg.StopSignal)})
			return
		}
		s.beside(func() {
			held, err := s.tracer.Snapshot(g.traced)
			if !s.call(func() {
				if err != nil {
					s.publish(Event{Kind: EventWarning, Generation: g.n, Reason: err.Error()})
				}
				s.handovers = append(s.handovers, &handover{old: g.n, held: held, decided: true, ok: true})
				s.step(generation.RetireWanted{})
			}) {
				s.tracer.CloseHeld(held) // it ended by itself meanwhile
			}
		})
	})
}

// traced is the processes of all its generations.
func (m *member) traced() (pids []int) {
	var all []*tracer.Generation
	m.call(func() {
		for _, g := range m.gens {
			if g.traced != nil {
				all = append(all, g.traced)
			}
		}
	})
	for _, g := range all {
		pids = append(pids, m.tracer.Pids(g)...)
	}
	return pids
}

// told passes on what a member tells, under its number.
func (m *member) told(e Event) {
	if e.Kind == EventStopped {
		return // its end is the pool's to tell
	}
	e.Process = m.number
	if e.Kind == EventStarting && !m.begun {
		m.begun = true
		close(m.started)
	}
	if e.Kind == EventServing && !m.served {
		m.served = true
		close(m.serves)
		go m.pool.call(m.pool.systemd.served)
	}
	m.pool.hub.publish(e)
}

// hammer ends what drains now.
func (m *member) hammer() {
	m.call(func() { m.step(generation.HammerWanted{}) })
}

// end tells the program to stop, as a TERM to hupt does.
func (m *member) end(sig unix.Signal) {
	m.call(func() { m.step(generation.StopWanted{Signal: int(sig)}) })
}
