package supervisor

import (
	"fmt"
	"slices"
	"time"

	"hupt/generation"
	"hupt/tracer"
)

// A program that is to be revived must find its sockets, with whoever waits in
// their queues, whenever and however it ends. So hupt keeps duplicates of them
// all the time, not just for a restart.

// keeper is the sockets that are kept.
type keeper struct {
	held    []*tracer.Held
	missing map[*tracer.Held]time.Time // since when the program has it no more
	looking bool
	again   bool // something changed while looking
	timer   *time.Timer
	pause   *time.Timer // before a revival
}

const (
	// keepTick is how often it is looked whether the program closed a socket.
	keepTick = 5 * time.Second
	// keepCost is how many times longer than a look the pause after it is.
	keepCost = 100
	// keepGrace is how long a socket is kept that the program has no more: a
	// program that is just dying closes them one by one.
	keepGrace = 2 * time.Second
)

func (c Config) revives() bool { return c.Revive != generation.ReviveNever }

// lookAtSockets brings what is kept up to date with what the serving
// generation listens on.
func (s *Supervisor) lookAtSockets() {
	k := &s.keeper
	g := s.gens[s.machine.Serving()]
	switch {
	case !s.cfg.revives() || g == nil || g.traced == nil:
		return
	case k.looking:
		k.again = true
		return
	}
	k.looking, k.again = true, false
	s.keepCaught(g)
	have := slices.Clone(k.held)
	s.beside(func() {
		began := time.Now()
		held, err := s.tracer.Look(g.traced, have)
		if err == nil {
			err = s.tracer.Guard(g.traced, held)
		}
		if !s.call(func() { s.looked(g, held, err, time.Since(began)) }) {
			// It is over; of a pool, others go on in the same process.
			s.tracer.CloseHeld(slices.DeleteFunc(held, func(h *tracer.Held) bool { return slices.Contains(have, h) }))
		}
	})
}

// keepCaught keeps what generation g began to listen on since the last look. One
// that ends may have done so a moment ago.
func (s *Supervisor) keepCaught(g *gen) {
	s.keeper.held = s.tracer.Merge(s.keeper.held, s.tracer.Caught(g.traced))
}

func (s *Supervisor) looked(g *gen, held []*tracer.Held, err error, cost time.Duration) {
	k := &s.keeper
	k.looking = false
	if err != nil {
		s.warnOnce(fmt.Sprintf("connections can't wait for a revival: %v", err))
	}
	serves := s.machine.Serving() == g.n
	seen := make(map[uint64]bool)
	for _, h := range held {
		seen[h.Inode] = true
	}
	var keep, drop []*tracer.Held
	missing := make(map[*tracer.Held]time.Time)
	wait := max(keepTick, keepCost*cost)
	for _, h := range s.tracer.Merge(k.held, held) {
		if !seen[h.Inode] {
			since, known := k.missing[h]
			if !known {
				since = time.Now()
			}
			// While it is not known whether the program closed it or is dying, and
			// while nobody serves, it is kept.
			if known && serves && err == nil && time.Since(since) >= keepGrace {
				drop = append(drop, h)
				continue
			}
			missing[h] = since
			wait = min(wait, keepGrace+time.Millisecond)
		}
		keep = append(keep, h)
	}
	k.held, k.missing = keep, missing
	if len(drop) > 0 {
		s.tracer.CloseHeld(drop)
	}
	if k.again {
		s.lookAtSockets()
		return
	}
	if k.timer != nil {
		k.timer.Stop()
	}
	k.timer = time.AfterFunc(wait, func() { s.call(s.lookAtSockets) })
}

// reviveAfter begins the pause before a revival. A server that shuts its listeners down on its way out
// shuts those that are kept, too.
func (s *Supervisor) reviveAfter(after time.Duration) {
	s.tracer.Mend(s.keeper.held)
	s.keeper.missing = nil
	s.keeper.pause = time.AfterFunc(after, func() {
		s.call(func() {
			if s.machine.Reviving() {
				s.step(generation.ReviveDue{N: s.wanted(s.program, RestartOptions{Mode: StartFirst}).N})
			}
		})
	})
}
