package generation

import (
	"fmt"
	"time"
)

// This file is a restart's failure, at whatever point, and the way back to the
// version that served before.

// callBack resumes the youngest generation that still drains when the one that
// served has died and no other is on its way: it serves as well as it did.
func (s *step) callBack() {
	if s.stopping || s.serving != 0 {
		return
	}
	for i := len(s.gens) - 1; i >= 0; i-- {
		if g := s.gens[i]; g.Phase == Draining && !g.Failed {
			s.rescue = g.Number
			s.do(ClearTimer{g.Number, DrainTimer}, Resume{g.Number})
			return
		}
	}
}

// newGone: the generation of the restart in progress ended before the restart
// was decided.
func (s *step) newGone(g *Gen, phase Phase) {
	r := s.restart
	was := r.reason
	if was == "" {
		r.reason = s.why(g)
	}
	old := s.Gen(r.old)
	switch {
	case r.mode != StartFirst:
		s.newFailed(r.reason)
	case old == nil:
		s.failed(r.reason)
	case was != "":
		// The old generation is being resumed already: Resumed decides.
	case phase == Quiescing:
		// Quiesced will come and find it gone.
	case phase == Serving:
		s.do(ClearTimer{old.Number, DrainTimer}, Resume{old.Number})
	default:
		s.failed(r.reason)
	}
}

// oldGone: the generation that was to be replaced ended by itself before the
// restart was decided.
func (s *step) oldGone() {
	r := s.restart
	r.old = 0
	if r.reason == "" && (r.mode != StartFirst || r.stage == preparing) {
		s.oldCleared()
		return
	}
	switch g := s.Gen(r.number); {
	case r.reason != "": // there is nothing left to resume
		s.failed(r.reason)
	case g.Phase == Quiescing:
		s.serve(g)
	}
}

// resumed: the old generation accepts again.
func (s *step) resumed(g *Gen) {
	if s.rescue == g.Number {
		s.rescue = 0
		s.comeBack(g, g.began)
		return
	}
	r := s.restart
	if r == nil || r.old != g.Number || r.reason == "" {
		return
	}
	s.comeBack(g, r.began)
	s.failed(r.reason)
}

// comeBack makes a resumed generation the one that serves.
func (s *step) comeBack(g *Gen, since time.Time) {
	g.Phase, g.drained, g.Hammered = Serving, false, false
	g.began = time.Time{}
	s.serving, s.previous = g.Number, 0
	s.do(Report{Kind: "resumed", N: g.Number, Since: since})
	if g.mainGone {
		s.do(CheckListening{g.Number})
	}
}

func (s *step) quiesceFailed(n int, reason string) {
	g := s.Gen(n)
	if g == nil {
		return
	}
	switch r := s.restart; {
	case g.Failed:
		if g.Phase == Draining {
			s.end(g)
		}
	case r != nil && r.old == n:
		// What was swapped already is swapped back.
		s.do(Resume{n})
		if r.reason == "" {
			r.reason = reason
			s.with(r.number, func(g *Gen) {
				if g.launched {
					s.discard(g)
				}
			})
		}
	case s.retiring(g):
		s.end(g)
	}
}

// retire gives up a new generation that still lives. What it accepted, it may
// finish. The version before waits for its end, unless it serves all along.
func (s *step) retire(g *Gen, reason string) {
	g.why = reason
	s.discard(g)
	if !s.recovers(g) && s.restart.mode == StartFirst {
		s.failed(reason)
	}
}

func (s *step) discard(g *Gen) {
	g.Failed = true
	g.began = g.wanted
	s.do(ClearTimer{g.Number, ReadyTimer}, ClearTimer{g.Number, SettleTimer})
	if g.Progress.Adopted == 0 {
		s.end(g)
		return
	}
	g.Phase = Draining
	s.do(Quiesce{g.Number})
}

// leave is what a time-out does to a generation whose predecessor ended by
// itself meanwhile: the restart failed, but nothing would be won by ending the
// only one that may still come to serve.
func (s *step) leave(g *Gen) {
	reason := s.notReady(g)
	g.Phase, s.serving = Serving, g.Number
	s.settle(g)
	s.failed(reason)
}

// failed ends the restart: whatever served before, serves on.
func (s *step) failed(reason string) {
	r := s.restart
	s.restart = nil
	s.Rollbacks++
	switch {
	case s.stopping:
	case s.recovery != nil:
		reason += s.recovery.words()
	case s.serving > r.number:
		reason += fmt.Sprintf("; the version before was started again and serves as generation %d", s.serving)
	case s.serving == r.number:
		reason += "; it is left to go on, since nothing else serves"
	case s.serving != 0:
		reason += fmt.Sprintf("; generation %d serves on", s.serving)
	default:
		reason += "; nothing serves any more"
	}
	s.do(Report{Kind: "failed", N: r.number, Since: r.began, Reason: reason}, Decided{r.number, false})
	if g := s.Gen(r.number); g != nil && !g.launched && r.stage != preparing {
		s.drop(g)
	}
}
