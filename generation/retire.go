package generation

// retireAll ends the instance as an old generation ends: it accepts no more,
// finishes its connections, and is told to stop. Others serve on the same
// sockets. In the middle of something, it is a stop like any other.
func (s *step) retireAll() {
	g := s.Gen(s.serving)
	switch {
	case s.stopping:
	case s.restart != nil || s.recovery != nil || s.rescue != 0 || g == nil || g.Phase != Serving:
		s.stop(StopWanted{})
	default:
		s.stopping = true
		g.began = s.now
		s.do(Quiesce{g.Number})
	}
}

// retiring: g is quiesced for good, with nobody to take its place.
func (s *step) retiring(g *Gen) bool {
	return s.stopping && g.Phase == Serving && g.Number == s.serving
}
