package generation

import "fmt"

// Mode is in which order a restart goes about things.
type Mode int

// The modes.
const (
	// StartFirst: the new generation starts beside the old one, which goes when
	// the new one serves.
	StartFirst Mode = iota
	// StopFirst: the old one drains and ends, and nothing of the program runs
	// when the new one starts. Connections wait in the held sockets.
	StopFirst
	// Exec: the old one drains, and its main process executes the new program:
	// its pid stays.
	Exec
)

func (m Mode) String() string { return [...]string{"start-first", "stop-first", "exec"}[m] }

// stage is how far a restart is in which the old generation is to go first.
type stage int

const (
	rising    stage = iota // the old one has gone, or need not go first
	preparing              // nothing was touched yet
	clearing               // the old one is quiesced, drained and ended
	executing              // what is left of it executes the new program
)

// This file is the part of a restart that the modes other than StartFirst have
// of their own: until the old generation has gone, and the new one's life
// begins as ever; and afterwards, if that fails, since there is nothing to
// resume then (recovery.go).

// proceed goes on with a restart that may be what it should, as far as could be
// seen. Nothing was touched yet.
func (s *step) proceed(g *Gen) {
	r := s.restart
	if r == nil || r.number != g.Number || r.stage != preparing {
		return
	}
	if s.recovery != nil && !s.takeOver() {
		return
	}
	switch {
	case s.serving != r.old && s.serving != 0: // another one than was prepared for
		r.old = s.serving
		s.do(Prepare{g.Number, r.mode})
	case s.serving == 0:
		s.startNext()
	case r.mode == StartFirst:
		r.stage = rising
		s.launch(g, 0)
	default:
		r.stage = clearing
		s.do(Quiesce{r.old})
	}
}

// startNext launches the new generation, once nothing is in its way.
func (s *step) startNext() {
	r := s.restart
	r.old, r.stage = 0, clearing
	if r.mode == StopFirst && len(s.gens) > 1 {
		return // one from before still drains
	}
	r.stage = rising
	s.launch(s.Gen(r.number), 0)
}

// alone reports whether g was to come to serve when what served before had
// gone already, as it was told to.
func (s *step) alone(g *Gen) bool {
	return s.recovers(g) || s.isNew(g) && s.restart.mode != StartFirst && s.restart.old == 0
}

// executes reports whether g is about to execute the new program.
func (s *step) executes(g *Gen) bool {
	r := s.restart
	return r != nil && r.stage == executing && r.old == g.Number
}

func (s *step) execute(g *Gen) {
	r := s.restart
	r.stage = executing
	s.with(r.number, func(g *Gen) { g.Launched, g.launched = s.now, true })
	s.do(ClearTimer{g.Number, DrainTimer}, Execute{r.number, g.Number})
}

// executed: what was the old generation's is the new one's.
func (s *step) executed(e Executed) {
	if r := s.restart; r != nil && r.number == e.N {
		r.old, r.stage = 0, rising
	}
	serves := s.serving == e.Old
	s.with(e.Old, s.gone)
	if serves && s.stopping {
		s.serving = e.N // its end is the instance's
	}
	s.with(e.N, func(g *Gen) {
		g.Progress.Offered, g.Progress.Addresses = e.Offered, e.Addresses
		s.launched(g)
	})
}

// executeFailed: the old generation goes on as if nothing had been. If it has
// ended, the new one gets a process of its own.
func (s *step) executeFailed(g *Gen, reason string) {
	g.launched = false
	r := s.restart
	switch {
	case r == nil || r.number != g.Number: // told to stop meanwhile
		s.drop(g)
	case s.Gen(r.old) == nil:
		s.startNext()
	default:
		r.reason = reason
		s.do(Resume{r.old})
	}
}

// oldCleared: the old generation has gone, be it that it was told to.
func (s *step) oldCleared() {
	r := s.restart
	if r.mode == Exec && r.stage != preparing {
		s.do(Report{Kind: "warning", N: r.number, Reason: fmt.Sprintf(
			"the old process ended before it could execute the new program: generation %d gets another pid", r.number)})
	}
	// While it is prepared or about to be executed, an answer is still to come.
	if r.stage == clearing {
		s.startNext()
	}
}

// newFailed: the new generation failed, and no process of it is left.
func (s *step) newFailed(reason string) {
	r := s.restart
	if r.mode == StartFirst || r.stage == preparing || s.stopping {
		s.failed(reason)
		return
	}
	r.reason = reason
	s.recover()
}
