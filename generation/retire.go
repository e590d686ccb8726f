package generation

// retireAll ends the instance as an old generation ends: it accepts no more,
// finishes its connections, and is told to stop. Others serve on the same
// sockets.
func (s *step) retireAll() {
	if s.stopping {
		return
	}
	s.stopping, s.rescue = true, 0
	if s.restart != nil {
		s.failed("the instance was told to retire")
	}
	for _, g := range s.gens {
		switch {
		case g.Number == s.serving && g.Phase == Serving:
			g.began = s.now
			s.do(Quiesce{g.Number})
		case g.Phase == Starting || g.Phase == Quiescing:
			s.kill(g, "it was still starting")
		}
	}
}

// retiring: g is quiesced for good, with nobody to take its place.
func (s *step) retiring(g *Gen) bool {
	return s.stopping && g.Phase == Serving && g.Number == s.serving
}
