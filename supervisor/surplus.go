package supervisor

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"hupt/fdtable"
	"hupt/tracer"
)

// A generation with fewer sockets in an SO_REUSEPORT group than the one before
// leaves some over. What waits in their queues is nobody's but the old
// generation's, so that goes on accepting there, while everything new goes to
// the others. They are closed when nothing can come to them any more, and not
// before the new generation's probation is over: the old one may be resumed.

// calm is how long the queues of sockets on which nobody accepts any more must
// have stayed empty before these are closed. If the kernel were still giving
// them connections, on a port that is worth it some would have come.
const calm = 50 * time.Millisecond

// leaveSurplus finds the surplus of g's sockets, and returns the rest: those
// that it is to be quiesced on now.
func (s *Supervisor) leaveSurplus(g *gen, next *tracer.Generation, held []*tracer.Held) []*tracer.Held {
	surplus, err := s.tracer.Surplus(next, held)
	if err != nil {
		s.call(func() {
			s.publish(Event{Kind: EventWarning, Generation: g.n,
				Reason: fmt.Sprintf("what the new version did not take over goes on getting connections until a moment when none waits: %v", err)})
		})
	}
	g.surplus, g.unsteered = surplus, err != nil
	return slices.DeleteFunc(slices.Clone(held), func(h *tracer.Held) bool { return slices.Contains(surplus, h) })
}

// surplusDrain is how far the drain of surplus sockets is.
type surplusDrain struct {
	sockets  []*tracer.Held
	halfOpen map[netip.AddrPort]bool // handshakes that some of them began; nil: not read yet
	quiesced time.Time               // since when nobody accepts on them; zero: somebody does
}

func newSurplusDrain(g *gen) *surplusDrain { return &surplusDrain{sockets: g.surplus} }

// drainSurplus takes the drain of g's surplus sockets a step further. It
// reports whether there are none, or none any more.
func (s *Supervisor) drainSurplus(g *gen, d *surplusDrain, over <-chan struct{}) bool {
	switch {
	case len(d.sockets) == 0:
		return true
	case !g.succeeded.Load():
		return false
	case g.unsteered:
		s.catchSurplus(g, d, over)
		return len(d.sockets) == 0
	case !d.handshakesOver(), d.quiesced.IsZero() && s.tracer.Waiting(d.sockets) > 0:
		return false
	}
	if d.quiesced.IsZero() {
		left, err := s.tracer.QuiesceRest(g.traced, d.sockets)
		if err == nil && len(left) == 0 {
			d.quiesced = time.Now()
		}
		return false
	}
	if s.tracer.Waiting(d.sockets) > 0 {
		s.tracer.LeaveTo(g.traced, d.sockets)
		d.quiesced, d.halfOpen = time.Time{}, nil
		return false
	}
	if time.Since(d.quiesced) < calm {
		return false
	}
	s.call(func() {
		select {
		case <-over: // it is resumed
		default:
			d.sockets = s.tracer.Part(d.sockets)
		}
	})
	d.quiesced, d.halfOpen = time.Now(), nil
	return len(d.sockets) == 0
}

// catchSurplus closes surplus sockets that go on getting connections, each in a
// moment in which none waits there. A handshake that was half done is lost.
func (s *Supervisor) catchSurplus(g *gen, d *surplusDrain, over <-chan struct{}) {
	for _, h := range slices.Clone(d.sockets) {
		one := []*tracer.Held{h}
		if s.tracer.Waiting(one) > 0 {
			continue
		}
		if left, err := s.tracer.QuiesceRest(g.traced, one); err != nil || len(left) > 0 {
			continue
		}
		s.call(func() {
			select {
			case <-over: // it is resumed
				return
			default:
			}
			if left := s.tracer.Part(one); len(left) > 0 {
				s.tracer.LeaveTo(g.traced, one)
				return
			}
			d.sockets = slices.DeleteFunc(d.sockets, func(o *tracer.Held) bool { return o == h })
		})
	}
}

// handshakesOver reports whether the handshakes that were half done when it was
// first asked are over: they belong to the socket that got the SYN, and one
// that is closed resets them.
func (d *surplusDrain) handshakesOver() bool {
	if d.halfOpen != nil && len(d.halfOpen) == 0 {
		return true
	}
	open := make(map[netip.AddrPort]bool)
	seen := make(map[uint16]bool)
	for _, h := range d.sockets {
		port := h.Name.Address.Port()
		if seen[port] {
			continue
		}
		seen[port] = true
		sockets, err := fdtable.Dump(fdtable.HalfOpen, port)
		if err != nil {
			return false
		}
		for _, k := range sockets {
			if d.halfOpen == nil || d.halfOpen[k.Remote] {
				open[k.Remote] = true
			}
		}
	}
	d.halfOpen = open
	return len(open) == 0
}

// warnLost says that connections were lost with sockets that were closed.
func (s *Supervisor) warnLost(n, lost int) {
	if lost > 0 {
		s.publish(Event{Kind: EventWarning, Generation: n,
			Reason: fmt.Sprintf("%d sockets of it that the new version did not take over were closed with connections in their queues", lost)})
	}
}
