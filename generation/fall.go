package generation

import (
	"fmt"
	"time"
)

// --- a generation's fall

// drain begins the wait for the connections that a quiesced generation has.
func (s *step) drain(g *Gen) {
	g.Phase = Draining
	if s.policy.DrainTimeout >= 0 {
		s.do(SetTimer{g.Number, DrainTimer, s.policy.DrainTimeout})
	}
	s.do(Drain{g.Number})
}

func (s *step) counted(g *Gen, left int) {
	was, counted := g.Left, g.counted
	g.Left, g.counted = left, true
	if g.Phase != Draining {
		return
	}
	g.drained = left == 0
	switch {
	case !g.drained && (left != was || !counted):
		s.do(Report{Kind: "draining", N: g.Number, Left: left})
	case g.drained && (was != 0 || !counted):
		s.do(Report{Kind: "drained", N: g.Number})
	}
	if g.drained && s.previous != g.Number {
		s.end(g)
	}
}

// hammer is the drain's deadline. While the next generation is on probation,
// it is put off: the old one may have to be resumed.
func (s *step) hammer(g *Gen) {
	if g.Phase != Draining || g.Hammered {
		return
	}
	g.Hammered = true
	s.do(Report{Kind: "hammer", N: g.Number, Left: g.Left})
	if s.previous != g.Number {
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
				s.kill(g)
			}
		}
	}
}

// end sends the stop signal.
func (s *step) end(g *Gen) {
	g.Phase = Stopping
	s.do(ClearTimer{g.Number, DrainTimer}, Report{Kind: "stopping", N: g.Number, Left: g.Left},
		Signal{N: g.Number, All: g.mainGone}, SetTimer{g.Number, KillTimer, s.policy.KillAfter})
}

func (s *step) kill(g *Gen) {
	if g.forced {
		return
	}
	g.forced = true
	s.do(Report{Kind: "killed", N: g.Number, Left: g.Left}, Kill{g.Number})
}

func (s *step) expired(g *Gen, t Timer) {
	switch t {
	case ReadyTimer:
		if g.Phase == Starting && s.isNew(g) {
			s.retire(g, s.notReady(g))
		}
	case SettleTimer:
		if g.Phase == Starting && g.Progress.enough(s.policy.BlindReady) {
			s.ready(g)
		}
	case ProbationTimer:
		if s.isNew(g) && g.Phase == Serving {
			s.confirmed(g)
		}
	case DrainTimer:
		s.hammer(g)
	case KillTimer:
		if g.Phase == Stopping {
			s.kill(g)
		}
	case DaemonTimer:
		if g.mainGone && g.Phase == Serving {
			g.orphans = true
			s.do(CheckListening{g.Number})
		}
	}
}

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
	case !g.orphans:
		s.do(SetTimer{g.Number, DaemonTimer, Daemonize})
	default:
		// What is left serves nobody. It lives on, as it would without hupt.
		g.Phase = Gone
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
		s.Cut += cut
	}
	if phase != Starting {
		s.do(Report{Kind: "gone", N: g.Number, Cut: cut})
	}
	s.do(Forget{g.Number})
	if s.previous == g.Number {
		s.previous = 0
	}
	switch {
	case s.isNew(g):
		s.newGone(g, phase)
	case s.serving == g.Number:
		s.serving = 0
		s.code = g.Exit.Code
		if s.restart != nil && s.restart.old == g.Number {
			s.oldGone()
		}
	}
}

// newGone: the generation of the restart in progress ended before the restart
// was decided.
func (s *step) newGone(g *Gen, phase Phase) {
	old := s.Gen(s.restart.old)
	switch phase {
	case Quiescing:
		// Quiesced will come and find it gone.
		if old == nil {
			s.fail(g, s.died(g))
		} else {
			s.reason = s.died(g)
		}
	case Serving:
		s.serving = 0
		s.code = g.Exit.Code
		if old == nil || old.Phase != Draining {
			s.fail(g, s.died(g))
			return
		}
		s.reason = s.died(g)
		s.do(ClearTimer{old.Number, DrainTimer}, Resume{old.Number})
	default:
		s.fail(g, s.died(g))
	}
}

// oldGone: the serving generation ended by itself while its successor was on
// its way.
func (s *step) oldGone() {
	s.restart.old = 0
	if g := s.Gen(s.restart.number); g != nil && g.Phase == Quiescing {
		s.serve(g)
	}
}

// resumed: the old generation accepts again after its successor died.
func (s *step) resumed(g *Gen) {
	if s.restart == nil || s.restart.old != g.Number {
		return
	}
	g.Phase, g.drained, g.Hammered = Serving, false, false
	s.serving, s.previous = g.Number, 0
	s.do(Report{Kind: "resumed", N: g.Number, Since: s.restart.began})
	s.failed(s.restart.number, s.reason)
}

func (s *step) quiesceFailed(n int, reason string) {
	switch {
	case s.restart != nil && s.restart.old == n:
		// What was swapped already is swapped back.
		s.do(Resume{n})
		s.reason = reason
		if g := s.Gen(s.restart.number); g != nil {
			s.discard(g)
		}
	default:
		s.with(n, s.end)
	}
}

// retire gives up a new generation that still lives. What it accepted, it may
// finish.
func (s *step) retire(g *Gen, reason string) {
	s.discard(g)
	s.fail(g, reason)
}

func (s *step) discard(g *Gen) {
	g.Failed = true
	s.do(ClearTimer{g.Number, ReadyTimer}, ClearTimer{g.Number, SettleTimer})
	if g.Progress.Adopted == 0 {
		s.end(g)
		return
	}
	g.Phase = Draining
	s.do(Quiesce{g.Number})
}

func (s *step) fail(g *Gen, reason string) { s.failed(g.Number, reason) }

// failed ends the restart: whatever served before, serves on.
func (s *step) failed(n int, reason string) {
	began := s.restart.began
	s.restart = nil
	s.Rollbacks++
	s.do(Report{Kind: "failed", N: n, Since: began, Reason: reason}, Decided{false})
}

func (s *step) remove(g *Gen) {
	for i, x := range s.gens {
		if x == g {
			s.gens = append(s.gens[:i:i], s.gens[i+1:]...)
		}
	}
}

// --- reasons

func (s *step) died(g *Gen) string {
	how := g.Exit.Reason
	if how == "" {
		how = "ended"
	}
	return fmt.Sprintf("it %s after %s%s", how, seconds(s.now.Sub(g.Launched)), g.lastCall())
}

func (s *step) notReady(g *Gen) string {
	p := g.Progress
	what := ""
	switch {
	case p.Listening == 0 && p.Offered == 0:
		what = "it listens on nothing"
	case p.Listening == 0:
		what = fmt.Sprintf("it did not listen on any of the %d sockets that it was to take over", p.Offered)
	default:
		what = fmt.Sprintf("it waits for connections on %d of the %d sockets that it listens on", p.Waiting, p.Listening)
	}
	return fmt.Sprintf("it was not ready after %s: %s%s", seconds(s.now.Sub(g.Launched)), what, g.lastCall())
}

func (g *Gen) lastCall() string {
	if g.lastFailed == "" {
		return ""
	}
	return "; its last failed call: " + g.lastFailed
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// --- the end

func (s *step) stop(e StopWanted) {
	if s.stopping || e.Now {
		s.stopping = true
		for _, g := range s.gens {
			s.kill(g)
		}
		return
	}
	s.stopping = true
	if s.restart != nil {
		s.failed(s.restart.number, "the instance was told to stop")
	}
	for _, g := range s.gens {
		switch g.Phase {
		case Stopping:
		case Starting, Quiescing:
			s.kill(g)
		default:
			sent := e.Sent && g.Number == s.serving
			g.Phase = Stopping
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
	if s.ended || s.serving != 0 || s.restart != nil || len(s.gens) > 0 {
		return
	}
	s.ended = true
	s.do(End{s.code})
}
