package generation

import (
	"fmt"
	"time"
)

// This file is a generation's fall: drain, stop signal, kill, end, and what
// that means for a restart in progress.

// drain begins the wait for the connections that a quiesced generation has.
func (s *step) drain(g *Gen) {
	g.Phase = Draining
	g.drained, g.counted, g.Left, g.Abandoned = false, false, 0, 0
	if s.policy.DrainTimeout >= 0 {
		s.do(SetTimer{g.Number, DrainTimer, s.policy.DrainTimeout})
	}
	s.do(Drain{g.Number})
}

func (s *step) counted(g *Gen, e Counted) {
	was, counted, drained := g.Left, g.counted, g.drained
	g.Left, g.counted = e.Left, true
	if g.Phase != Draining || s.rescue == g.Number {
		return
	}
	g.drained = e.Left == 0 && !e.Open
	switch {
	case e.Left > 0 && (e.Left != was || !counted):
		s.do(Report{Kind: "draining", N: g.Number, Left: e.Left})
	case g.drained && !drained:
		s.do(Report{Kind: "drained", N: g.Number, Since: g.began})
	}
	if g.drained {
		s.cleared(g)
	}
}

// hammer is the drain's deadline. While the next generation is on probation,
// it is put off: the old one may have to be resumed.
func (s *step) hammer(g *Gen) {
	if g.Phase != Draining || g.Hammered || s.rescue == g.Number || s.executes(g) {
		return
	}
	g.Hammered = true
	s.do(Report{Kind: "hammer", N: g.Number, Since: g.began, Left: g.Left})
	s.cleared(g)
}

// cleared: nothing is waited for any more of a generation that drained.
func (s *step) cleared(g *Gen) {
	switch r := s.restart; {
	case s.previous == g.Number: // it may have to be resumed
	case s.executes(g):
	case r != nil && r.old == g.Number && r.reason != "": // it is being resumed
	case r != nil && r.old == g.Number && r.mode == Exec:
		s.execute(g)
	default:
		s.end(g)
	}
}

func (s *step) hammerAll() {
	for _, g := range s.gens {
		switch g.Phase {
		case Draining:
			s.hammer(g)
		case Stopping:
			if !s.stopping {
				s.kill(g, "told to go at once")
			}
		}
	}
}

// end sends the stop signal.
func (s *step) end(g *Gen) {
	g.Phase = Stopping
	s.do(ClearTimer{g.Number, DrainTimer}, Report{Kind: "stopping", N: g.Number, Since: g.began, Left: g.Left})
	if s.leaves(g) {
		return
	}
	s.do(Signal{N: g.Number, All: g.mainGone}, SetTimer{g.Number, KillTimer, s.policy.KillAfter})
}

func (s *step) kill(g *Gen, why string) {
	if g.forced {
		return
	}
	g.forced = true
	if g.Phase != Starting {
		g.Phase = Stopping
	}
	s.do(Report{Kind: "killed", N: g.Number, Since: g.began, Left: g.Left, Reason: why}, Kill{g.Number})
}

func (s *step) expired(g *Gen, t Timer) {
	switch t {
	case ReadyTimer:
		switch {
		case g.Phase != Starting || !s.isNew(g):
		case !s.recovers(g) && s.restart.mode == StartFirst && s.restart.old == 0:
			s.leave(g)
		default:
			s.retire(g, s.notReady(g))
		}
	case SettleTimer:
		switch {
		case g.Phase == Starting && s.isNew(g) && g.Progress.enough(s.policy.BlindReady):
			s.doesAccept(g)
		case g.Phase == Serving && !g.settled:
			s.settle(g)
		}
	case ProbationTimer:
		switch {
		case !s.isNew(g) || g.Phase != Serving:
		case g.mainGone: // whether what is left of it serves is still to be seen
			s.do(SetTimer{g.Number, ProbationTimer, Probation})
		default:
			s.confirmed(g)
		}
	case DrainTimer:
		s.hammer(g)
	case KillTimer:
		if g.Phase == Stopping && !s.leaves(g) {
			s.kill(g, "it outlived its stop signal by "+seconds(s.policy.KillAfter))
		}
	case DaemonTimer:
		if g.mainGone && g.Phase == Serving {
			g.orphans = true
			s.do(CheckListening{g.Number})
		}
	}
}

// leaves reports whether g's main process has gone, and its children are to be
// waited for.
func (s *step) leaves(g *Gen) bool { return s.policy.WaitChildren && g.mainGone && !g.forced }

func (s *step) exited(g *Gen, e Exited) {
	if e.Main {
		g.Exit, g.Exited = e.Exit, true
	}
	if e.Last {
		s.gone(g)
		return
	}
	if !e.Main {
		return
	}
	g.mainGone = true
	switch g.Phase {
	case Stopping:
		if s.leaves(g) {
			s.do(ClearTimer{g.Number, KillTimer})
			break
		}
		s.do(Signal{N: g.Number, All: true})
	case Starting:
		if e.Exit.Code != 0 && s.isNew(g) {
			s.retire(g, s.died(g))
		}
	case Serving:
		// A server that daemonized, a master that left its workers, or a shell
		// that left something in the background.
		g.orphans = e.Exit.Code != 0
		s.do(CheckListening{g.Number})
	}
}

// listened decides about a serving generation whose main process has gone.
func (s *step) listened(g *Gen, on bool) {
	switch {
	case g.Phase != Serving || !g.mainGone:
	case on:
		g.mainGone = false // the supervisor chose another main process
	case s.leaves(g): // it goes on until they have ended
	case !g.orphans:
		s.do(SetTimer{g.Number, DaemonTimer, s.policy.ReadyTimeout})
	default:
		// What is left serves nobody. It lives on, as it would without hupt.
		s.gone(g)
	}
}

func (s *step) gone(g *Gen) {
	phase := g.Phase
	g.Phase = Gone
	s.remove(g)
	cut := 0
	if phase == Draining || phase == Stopping && (g.Hammered || !g.drained) && g.counted {
		cut = g.Left
	}
	if phase == Draining || phase == Stopping {
		cut += g.Abandoned
	}
	s.Cut += cut
	if phase != Starting {
		s.do(Report{Kind: "gone", N: g.Number, Since: g.began, Cut: cut})
	}
	s.do(Forget{g.Number})
	if s.previous == g.Number {
		s.previous = 0
	}
	// The first one's end is the instance's, even if a stop killed it before
	// its launch was heard of.
	if s.serving == g.Number || (g.Number == 1 || g.revived) && phase == Starting || s.alone(g) {
		s.serving, s.code = 0, g.Exit.Code
		s.reason, s.lastCall = s.died(g), g.lastFailed
		if !s.fell(g) && s.restart == nil && s.recovery == nil {
			s.callBack()
		}
	}
	if s.rescue == g.Number {
		s.rescue = 0
		s.callBack()
	}
	if s.recovers(g) {
		s.attemptFailed(g, s.why(g))
		return
	}
	switch r := s.restart; {
	case r == nil:
	case r.number == g.Number:
		s.newGone(g, phase)
	case r.old == g.Number:
		s.oldGone()
	case r.stage == clearing && r.old == 0:
		s.startNext()
	}
}

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

func (s *step) remove(g *Gen) {
	for i, x := range s.gens {
		if x == g {
			s.gens = append(s.gens[:i:i], s.gens[i+1:]...)
		}
	}
}
