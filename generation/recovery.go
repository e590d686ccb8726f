package generation

import (
	"fmt"
	"time"
)

// When a new version fails for which the old one had to end, what served
// before is started again on the held sockets, in which connections wait; and
// again and again if need be, since nothing better can be done until somebody
// comes with a version that works.

// Times between attempts that fail.
const (
	RetryMin = time.Second
	RetryMax = 30 * time.Second
)

// recovery is the attempts to start again what served before.
type recovery struct {
	number  int // of the generation that is the attempt in progress; 0: none
	tries   int
	backoff Backoff
	wait    time.Duration // until the next one
}

// words for the end of a failed restart's reason.
func (r *recovery) words() string {
	if r.number != 0 {
		return "; the version before is being started again"
	}
	return fmt.Sprintf("; the version before could not be started again either: connections wait, and it is tried again in %s", seconds(r.wait))
}

// recovers reports whether g is an attempt to start again what served before.
func (s *step) recovers(g *Gen) bool { return s.recovery != nil && s.recovery.number == g.Number }

// recover begins the attempts.
func (s *step) recover() {
	s.recovery = &recovery{backoff: Backoff{Min: RetryMin, Max: RetryMax}}
	s.attempt()
}

func (s *step) attempt() {
	r := s.recovery
	r.tries++
	g := s.newGen(s.last + 1)
	r.number = g.Number
	s.launch(g, r.tries)
}

// retry is the end of the time between two attempts.
func (s *step) retry() {
	if s.recovery != nil && s.recovery.number == 0 {
		s.attempt()
	}
}

// attemptFailed: an attempt failed, and no process of it is left.
func (s *step) attemptFailed(g *Gen, reason string) {
	r := s.recovery
	r.number, r.wait = 0, r.backoff.Next()
	s.do(SetTimer{0, RetryTimer, r.wait},
		Report{Kind: "retry", N: g.Number, Since: g.wanted, Reason: fmt.Sprintf("%s; it is tried again in %s", reason, seconds(r.wait))})
	if s.restart != nil && s.restart.reason != "" {
		s.failed(s.restart.reason)
	}
}

// recovered: an attempt serves and has outlived its probation.
func (s *step) recovered(g *Gen) {
	s.recovery = nil
	s.do(Recovered{g.Number})
	if s.restart != nil && s.restart.reason != "" {
		s.failed(s.restart.reason)
	}
}

// takeOver ends a recovery for a restart that was asked for meanwhile and can
// begin. It reports false if an attempt is in its way, which is being ended.
func (s *step) takeOver() bool {
	r := s.restart
	g := s.Gen(s.recovery.number)
	switch {
	case g == nil:
		s.recovery, r.inherits = nil, true
		if r.mode == StartFirst { // beside what?
			r.mode = Exec
		}
		s.do(ClearTimer{0, RetryTimer})
		return true
	case g.Phase == Serving: // after all
		s.recovered(g)
		return true
	}
	s.recovery, r.inherits = nil, true
	r.mode, r.old, r.stage = StopFirst, g.Number, clearing
	if !g.Failed {
		g.why = "another restart has begun"
		s.discard(g)
	}
	return false
}
