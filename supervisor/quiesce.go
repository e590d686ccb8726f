package supervisor

import (
	"fmt"
	"slices"
	"time"

	"hupt/generation"
	"hupt/internal/fault"
	"hupt/tracer"
)

// quiesceGrace is how long a process that does not stop (a parent in vfork)
// holds the restart up. It is quiesced later, as soon as it stops.
const quiesceGrace = 2 * time.Second

func (s *Supervisor) quiesce(n int) {
	g := s.gens[n]
	if g == nil {
		return
	}
	held, next := s.heldFor(n)
	g.serves, g.surplus = nil, nil
	g.succeeded.Store(false)
	for _, h := range held {
		g.serves = append(g.serves, h.Name)
	}
	s.beside(func() {
		began := time.Now()
		for all, looked := held, false; ; looked = true {
			late, err := s.takeLate(g, all)
			all = append(slices.Clip(all), late...)
			if len(late) > 0 || !looked {
				g.held = all
				if next != nil {
					g.held = s.leaveSurplus(g, next, all)
				}
			}
			fault.Point("quiesce")
			var left []int
			if err == nil {
				left, err = s.tracer.Quiesce(g.traced, g.held, next == nil)
			}
			if err != nil {
				s.later(generation.QuiesceFailed{N: n, Reason: fmt.Sprintf("generation %d could not be made to stop accepting: %v", n, err)})
				return
			}
			done := len(left) == 0 && !s.tracer.Opened(g.traced)
			if done || time.Since(began) > quiesceGrace {
				g.unfinished = len(left) > 0
				s.later(generation.Quiesced{N: n})
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
}

// takeLate takes hold of what g has opened since held was, which is what its restart
// hands over.
func (s *Supervisor) takeLate(g *gen, held []*tracer.Held) (late []*tracer.Held, err error) {
	if !s.tracer.Opened(g.traced) {
		return nil, nil
	}
	if late, err = s.tracer.Late(g.traced, held); err != nil || len(late) == 0 {
		return nil, err
	}
	known := false
	s.call(func() {
		for _, h := range s.handovers {
			if h.old != g.n || !slices.Equal(h.held, held) {
				continue
			}
			h.held, known = append(slices.Clip(held), late...), true
			for _, l := range late {
				g.serves = append(g.serves, l.Name)
			}
			if next := s.gens[h.next]; next != nil && next.traced != nil {
				s.tracer.OfferLate(next.traced, late)
			}
		}
	})
	if !known { // it is over by now
		s.tracer.CloseHeld(late)
		return nil, nil
	}
	return late, nil
}

// heldFor is the held sockets that generation n is to let go of: those of the
// restart that it is part of, on whichever side. next is who gets them, if it
// is the old one of it.
func (s *Supervisor) heldFor(n int) (held []*tracer.Held, next *tracer.Generation) {
	for i := len(s.handovers) - 1; i >= 0; i-- {
		h := s.handovers[i]
		if h.old == n && s.gens[h.next] != nil {
			next = s.gens[h.next].traced
		}
		if h.old == n || h.next == n {
			return h.held, next
		}
	}
	return nil, nil
}
