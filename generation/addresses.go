package generation

import "fmt"

// This file is what a new version must have of its predecessor's addresses before that
// is touched. One that listens elsewhere, since it found its port taken, say, would be
// ready, and nobody would be served where clients come to. It may be slow, too: an
// address that it has not taken over yet it may still ask for. So it is not failed for
// that, but not ready, until its time is over.

// Addresses is which of the addresses of the version before a new one must take over.
type Addresses int

// The demands.
const (
	SomeAddress   Addresses = iota // one, if there is any
	MayMove                        // none
	KeepAddresses                  // all
)

// keeps reports whether g, which listens, took over what it has to. An attempt to start
// again what served before is taken as it is: there is nothing better.
func (s *step) keeps(g *Gen) bool {
	r, p := s.restart, g.Progress
	switch {
	case r == nil || r.number != g.Number || r.addresses == MayMove:
		return true
	case p.Listening == 0 && p.Adopted == 0 && !s.policy.BlindReady && (p.Offered > 0 || r.listened):
		return false // said to be ready, and serves nobody
	case r.addresses == KeepAddresses:
		return p.Kept == p.Addresses
	}
	return p.Kept > 0 || p.Addresses == 0
}

// enough reports whether what g does after it settled is all that it means to do. To
// listen on nothing is not, where the version before listened.
func (s *step) enough(g *Gen) bool {
	r := s.restart
	if g.Progress.Listening == 0 && r != nil && r.number == g.Number && r.listened {
		return false
	}
	return g.Progress.enough(s.policy.BlindReady)
}

// listens: a generation began to listen on something.
func (s *step) listens(g *Gen) {
	if r := s.restart; r != nil && r.old == g.Number && g.Progress.Listening > 0 {
		r.listened = true
	}
}

// tellMoved says once why g, which waits for connections, is not ready: whoever has
// asked for it would wait for --ready-timeout without a word.
func (s *step) tellMoved(g *Gen) {
	if g.moved {
		return
	}
	g.moved = true
	s.do(Report{Kind: "warning", N: g.Number, Reason: fmt.Sprintf("generation %d is not ready: %s; it has %s for that (--ready-timeout)",
		g.Number, s.lacks(g), seconds(g.timeout))})
}

// lacks says which addresses g did not take over.
func (s *step) lacks(g *Gen) string {
	p := g.Progress
	which := p.LetGo
	switch n := p.Addresses - p.Kept; {
	case which != "":
	case n == 1:
		which = "one address"
	default:
		which = fmt.Sprintf("%d addresses", n)
	}
	if s.restart != nil && s.restart.addresses == KeepAddresses {
		return fmt.Sprintf("it did not take over %s (--keep-addresses)", which)
	}
	return fmt.Sprintf("it took over none of the addresses of the version before (%s); --may-move lets it listen elsewhere", which)
}
