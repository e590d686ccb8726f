package generation

import (
	"cmp"
	"fmt"
	"time"
)

// Revive says what becomes of an instance whose program has ended by itself.
type Revive int

// The kinds of revival.
const (
	ReviveNever     Revive = iota // the instance ends, too
	ReviveOnFailure               // it is started again unless it ended well
	ReviveAlways                  // it is started again
)

// ReviveCap is the longest pause before a revival, unless ReviveDelay is longer.
const ReviveCap = 30 * time.Second

// revival is what is remembered of programs that ended by themselves, until one
// has served for a while.
type revival struct {
	wanted bool   // nothing serves, and something is to
	due    bool   // ReviveAfter was said, and ReviveDue did not come yet
	tries  int    // since one served for long enough
	why    string // the last one could not be launched; empty: it ended
}

// Reviving reports whether the program has ended and waits to be started again.
func (m *Machine) Reviving() bool { return m.revival.due }

// reviving is the generation that is on its way to serve alone; nil: none is.
func (m *Machine) reviving() *Gen {
	for _, g := range m.gens {
		if g.revived && g.Phase == Starting {
			return g
		}
	}
	return nil
}

// Revival reports whether n is a generation that was started because the
// program had ended by itself.
func (m *Machine) Revival(n int) bool {
	g := m.Gen(n)
	return g != nil && g.revived
}

// endedWell: as systemd sees it for Restart=on-failure. A stop by hand is no failure.
func (e Exit) endedWell() bool {
	switch e.Code {
	case 0, 128 + 1, 128 + 2, 128 + 13, 128 + 15: // HUP, INT, PIPE, TERM
		return true
	}
	return false
}

// fell: what served, or was to serve alone, has ended. It reports whether it is
// to be started again.
func (s *step) fell(g *Gen) bool {
	switch {
	case s.stopping || s.policy.Revive == ReviveNever:
		return false
	case s.policy.Revive == ReviveOnFailure && g.Exited && g.Exit.endedWell():
		s.revival = revival{}
		return false
	}
	// One that serves a client and ends well, as `nc -l` does, is as it should be.
	well := g.Exited && g.Exit.Code == 0
	if !g.since.IsZero() && (well || s.now.Sub(g.since) >= s.policy.ReviveReset) {
		s.revival.tries = 0
	}
	s.revival.wanted = true
	return true
}

// mayRevive begins the pause before a revival, once nothing else is under way
// that could serve.
func (s *step) mayRevive() {
	r := &s.revival
	if s.serving != 0 {
		r.wanted = false
	}
	if !r.wanted || r.due || s.stopping || s.ended || s.restart != nil || s.recovery != nil || s.rescue != 0 {
		return
	}
	for _, g := range s.gens {
		if g.Phase == Starting {
			return // it is on its way
		}
	}
	if s.policy.ReviveMax > 0 && r.tries >= s.policy.ReviveMax {
		r.wanted = false
		s.do(Report{Kind: "failed", Reason: fmt.Sprintf("the program ended %d times in a row (--revive-max): it is not started again", r.tries+1)})
		return
	}
	after := s.policy.revivePause(r.tries)
	r.tries++
	r.due = true
	s.do(Report{Kind: "reviving", Reason: cmp.Or(r.why, s.reason), After: after}, ReviveAfter{after})
}

// revivePause is nothing at first, then ReviveDelay, then twice as long each
// time.
func (p Policy) revivePause(tries int) time.Duration {
	if tries == 0 {
		return 0
	}
	after, longest := p.ReviveDelay, max(p.ReviveDelay, ReviveCap)
	for range tries - 1 {
		if after *= 2; after >= longest {
			return longest
		}
	}
	return after
}

// revive starts generation n, to serve on the sockets that are held.
func (s *step) revive(n int) {
	if !s.revival.due || s.stopping {
		return
	}
	s.revival.due = false
	s.newGen(n).revived = true
	s.do(Prepare{n, StartFirst})
}

// revivalFailed: a generation that was to serve alone could not be launched.
func (s *step) revivalFailed(g *Gen, reason string) {
	s.do(Report{Kind: "failed", N: g.Number, Since: g.Launched, Reason: reason})
	s.fell(g)
	s.revival.why = reason
}
