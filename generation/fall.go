package generation

import "cmp"

// This file is a generation's fall: drain, stop signal, kill, end.

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

// end sends the stop signal. One whose launch is under way has no process yet
// that anybody knows: it is given up, and killed once it is heard of.
func (s *step) end(g *Gen) {
	if !g.runs {
		s.kill(g, cmp.Or(g.why, "it was still starting"))
		return
	}
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
		case g.Phase == Starting && s.isNew(g) && s.enough(g):
			if s.keeps(g) {
				s.doesAccept(g)
			} else {
				s.tellMoved(g)
			}
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
		s.reason, s.lastCall, s.revival.why = s.died(g), g.lastFailed, ""
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

func (s *step) remove(g *Gen) {
	for i, x := range s.gens {
		if x == g {
			s.gens = append(s.gens[:i:i], s.gens[i+1:]...)
		}
	}
}
