package generation

// stop ends everything that lives; a second one does so by SIGKILL.
func (s *step) stop(e StopWanted) {
	again := s.stopping
	s.stopping, s.rescue = true, 0
	if s.recovery != nil {
		s.recovery = nil
		s.do(ClearTimer{0, RetryTimer})
	}
	s.revival = revival{}
	if s.restart != nil {
		s.failed("the instance was told to stop")
	}
	for _, g := range s.gens {
		switch {
		case again:
			s.kill(g, "told to stop again")
		case e.Now:
			s.kill(g, "told to stop at once")
		case g.Phase == Stopping:
		case g.Phase == Starting || g.Phase == Quiescing:
			s.kill(g, "it was still starting")
		default:
			sent := e.Sent && g.Number == s.serving
			g.Phase, g.began = Stopping, s.now
			s.do(Report{Kind: "stopping", N: g.Number, Left: g.Left}, ClearTimer{g.Number, DrainTimer})
			if !sent {
				s.do(Signal{N: g.Number, Signal: e.Signal, All: g.mainGone})
			}
			s.do(SetTimer{g.Number, KillTimer, s.policy.KillAfter})
		}
	}
}

// mayEnd ends the instance once nothing serves, nothing starts, and nothing
// drains any more.
func (s *step) mayEnd() {
	if s.ended || s.serving != 0 || s.restart != nil || s.recovery != nil || s.revival.due || len(s.gens) > 0 {
		return
	}
	s.ended = true
	s.do(End{s.code, s.reason, s.lastCall})
}
