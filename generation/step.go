package generation

import (
	"fmt"
	"time"
)

// Step takes one event and says what to do about it. Events about generations
// that have gone are no news.
func (m *Machine) Step(ev Event, now time.Time) []Action {
	s := &step{Machine: m, now: now}
	switch e := ev.(type) {
	case RestartWanted:
		s.begin(e)
	case HammerWanted:
		s.hammerAll()
	case StopWanted:
		s.stop(e)
	case Prepared:
		s.with(e.N, s.prepared)
	case RetireWanted:
		s.retireAll()
	case ReviveDue:
		s.revive(e.N)
	case Launched:
		s.with(e.N, func(g *Gen) {
			g.Progress.Offered, g.Progress.Addresses = e.Offered, e.Addresses
			s.launched(g)
		})
	case LaunchFailed:
		s.with(e.N, func(g *Gen) { s.launchFailed(g, e.Reason) })
	case Executed:
		s.executed(e)
	case ExecuteFailed:
		s.with(e.N, func(g *Gen) { s.executeFailed(g, e.Reason) })
	case Progressed:
		s.with(e.N, func(g *Gen) { s.progressed(g, e.P) })
	case Told:
		s.with(e.N, s.wasTold)
	case Doubted:
		s.with(e.N, func(g *Gen) { g.doubt = e.Reason })
	case CallFailed:
		s.with(e.N, func(g *Gen) { g.lastFailed = e.Text })
	case Exited:
		s.with(e.N, func(g *Gen) { s.exited(g, e) })
	case Quiesced:
		s.quiesced(e.N)
	case QuiesceFailed:
		s.quiesceFailed(e.N, e.Reason)
	case Resumed:
		s.with(e.N, s.resumed)
	case Counted:
		s.with(e.N, func(g *Gen) {
			g.Abandoned = e.Abandoned
			s.counted(g, e)
		})
	case Listened:
		s.with(e.N, func(g *Gen) { s.listened(g, e.On) })
	case Expired:
		if e.Timer == RetryTimer {
			s.retry()
		}
		s.with(e.N, func(g *Gen) { s.expired(g, e.Timer) })
	}
	s.mayRevive()
	s.mayEnd()
	return s.actions
}

// step is one call of Step: the machine, the time, and what is to be done.
type step struct {
	*Machine
	now     time.Time
	actions []Action
}

func (s *step) do(a ...Action) { s.actions = append(s.actions, a...) }

func (s *step) with(n int, f func(*Gen)) {
	if g := s.Gen(n); g != nil {
		f(g)
	}
}

// isNew reports whether g is to come to serve: it is the generation of the
// restart in progress, or a recovery's.
func (s *step) isNew(g *Gen) bool {
	return s.restart != nil && s.restart.number == g.Number || s.recovers(g)
}

// Busy says why no restart can begin; "" if one can.
func (m *Machine) Busy() string {
	switch {
	case m.rescue != 0:
		return fmt.Sprintf("generation %d is being resumed", m.rescue)
	case m.recovery != nil && (m.restart == nil || m.restart.reason != ""):
		// Whoever has mended the new version is not to wait.
		if g := m.Gen(m.recovery.number); g != nil && g.Phase == Serving {
			return fmt.Sprintf("generation %d is on probation", g.Number)
		}
		return ""
	case m.restart == nil:
		if g := m.reviving(); g != nil {
			return fmt.Sprintf("generation %d is starting", g.Number)
		}
		return ""
	}
	what := "on probation"
	switch g := m.Gen(m.restart.number); {
	case m.restart.reason != "":
		what = "being rolled back"
	case m.restart.stage == clearing:
		what = "waiting for the one before it to end"
	case m.restart.stage == executing:
		what = "being executed"
	case g != nil && g.Phase == Starting:
		what = "starting"
	case g != nil && g.Phase == Quiescing:
		what = "taking over"
	}
	return fmt.Sprintf("generation %d is %s", m.restart.number, what)
}

// A generation's rise.

func (s *step) begin(e RestartWanted) {
	s.last = max(s.last, e.N)
	if s.revival.due { // beside what?
		s.revival.due, e.Mode = false, StartFirst
	}
	if e.N > 1 {
		if s.recovery != nil && s.restart != nil {
			s.failed(s.restart.reason)
		}
		timeout := e.ReadyTimeout
		if timeout <= 0 {
			timeout = s.policy.ReadyTimeout
		}
		s.restart = &restart{number: e.N, old: s.serving, mode: e.Mode, stage: preparing, began: s.now, timeout: timeout, addresses: e.Addresses}
		s.with(s.serving, s.listens)
	}
	s.newGen(e.N)
	s.do(Prepare{e.N, e.Mode})
}

func (s *step) newGen(n int) *Gen {
	g := &Gen{Number: n, Phase: Starting, Launched: s.now, wanted: s.now, timeout: s.policy.ReadyTimeout}
	if r := s.restart; r != nil && r.number == n {
		g.wanted, g.timeout = r.began, r.timeout
	}
	s.last = max(s.last, n)
	s.gens = append(s.gens, g)
	return g
}

func (s *step) prepared(g *Gen) {
	if s.stopping { // killed already, but there was nothing to kill
		s.drop(g)
		if g.Number == 1 {
			s.code = 128 + 15 // as if SIGTERM had met it
		}
		return
	}
	if g.Number == 1 || g.revived {
		s.launch(g, 0)
		return
	}
	s.proceed(g)
}

// drop forgets a generation that was never launched.
func (s *step) drop(g *Gen) {
	g.Phase = Gone
	s.remove(g)
	s.do(Forget{g.Number})
}

// launch begins the life of a generation.
func (s *step) launch(g *Gen, again int) {
	g.Launched, g.launched = s.now, true
	s.do(Launch{g.Number, again})
}

func (s *step) launched(g *Gen) {
	if s.stopping || g.Failed { // ended already, but there was nothing to end
		s.do(Kill{g.Number})
		return
	}
	g.runs = true
	s.do(Report{Kind: "starting", N: g.Number, Since: g.Launched})
	if !s.isNew(g) {
		// The first one serves, as far as it ever will: there is no other.
		g.Phase, s.serving, g.first = Serving, g.Number, true
		s.mayBeReady(g)
		return
	}
	s.do(SetTimer{g.Number, ReadyTimer, g.timeout}, SetTimer{g.Number, SettleTimer, Settle})
	s.mayBeReady(g)
}

func (s *step) launchFailed(g *Gen, reason string) {
	g.Phase = Gone
	s.remove(g)
	switch {
	case s.recovers(g):
		s.attemptFailed(g, reason)
	case s.isNew(g):
		s.newFailed(reason)
	case s.restart != nil && s.restart.old == g.Number:
		s.oldGone()
	case g.revived:
		s.revivalFailed(g, reason)
	case g.Number == 1:
		s.ended = true // the launcher's caller has the error
	}
}

func (s *step) progressed(g *Gen, p Progress) {
	first := g.Progress.Listening == 0 && p.Listening > 0
	same := g.Progress == p
	g.Progress = p
	s.listens(g)
	switch {
	case same: // what happened is of no interest, and puts nothing off
	case g.Phase == Starting && !s.isNew(g): // being killed
	case g.Phase == Starting && p.complete():
		s.doesAccept(g)
	case g.Phase == Starting:
		g.accepts = false // it listens on more, after it seemed to have settled
		s.do(SetTimer{g.Number, SettleTimer, Settle})
		s.mayBeReady(g) // somebody said so before it took over what it has to
	case g.Phase != Serving || g.settled:
	case p.complete():
		s.settle(g)
		s.doesAccept(g)
	case first:
		// The first generation is watched like any other, which makes it slow.
		// One that listens and never waits must not stay so for ever.
		after := FirstSettle
		if s.policy.BlindReady {
			after = Settle
		}
		s.do(SetTimer{g.Number, SettleTimer, after})
	}
}

// settle says that g serves, as far as anybody can see.
func (s *step) settle(g *Gen) {
	g.since = s.now
	g.settled = true
	g.lastFailed = "" // what failed did not matter
	s.do(ClearTimer{g.Number, SettleTimer}, Settled{g.Number})
}

// doesAccept: g waits for connections. That makes it ready, unless somebody is
// to be asked.
func (s *step) doesAccept(g *Gen) {
	if g.accepts {
		return
	}
	g.accepts = true
	s.mayBeReady(g)
	if g.Phase == Starting {
		s.do(Admit{g.Number})
	}
}

// wasTold: whoever is to be asked says that g is ready.
func (s *step) wasTold(g *Gen) {
	g.told = true
	s.mayBeReady(g)
}

func (s *step) mayBeReady(g *Gen) {
	var is bool
	switch s.policy.Ready {
	case ByAccept:
		is = g.accepts
	case ByWord:
		is = g.told
	case ByBoth:
		is = g.accepts && g.told
	}
	switch {
	case !is || !g.runs:
	case g.Phase == Starting && s.isNew(g):
		if s.keeps(g) {
			s.ready(g)
		}
	case g.Phase == Serving && g.first:
		g.first = false
		s.do(Report{Kind: "serving", N: g.Number, Since: g.Launched})
	}
}

// complete: it adopted all that there was, listens on it, and waits for
// connections on all that it listens on.
func (p Progress) complete() bool {
	return p.Adopted == p.Offered && p.Listening > 0 && p.Listening >= p.Adopted && p.Waiting >= p.Listening
}

// enough: after it settled, what it does is what it means to do. One that
// adopts fewer sockets than were offered changed its mind about ports; one
// that was offered none need not listen at all.
func (p Progress) enough(blind bool) bool {
	if p.Offered == 0 && p.Listening == 0 {
		return true
	}
	return p.Listening > 0 && (blind || p.Waiting >= p.Listening)
}

func (s *step) ready(g *Gen) {
	s.do(ClearTimer{g.Number, ReadyTimer}, ClearTimer{g.Number, SettleTimer},
		Report{Kind: "ready", N: g.Number, Since: g.wanted})
	var old *Gen
	if !s.recovers(g) {
		old = s.Gen(s.restart.old)
	}
	g.Phase = Quiescing
	if old == nil {
		s.serve(g)
		return
	}
	s.do(Quiesce{old.Number})
}

func (s *step) quiesced(n int) {
	g := s.Gen(n)
	if g == nil {
		return // whoever waited for this was told when it went
	}
	switch r := s.restart; {
	case g.Failed:
		if g.Phase == Draining {
			s.drain(g)
		}
	case r != nil && r.old == n && r.reason != "":
		s.do(Resume{n}) // the new generation died under our hands
	case r != nil && r.old == n && r.mode != StartFirst:
		g.began = r.began
		s.do(Report{Kind: "quiesced", N: n, Since: r.began})
		s.drain(g)
	case r != nil && r.old == n:
		s.serve(s.Gen(r.number))
		s.previous, g.began = n, r.began
		s.drain(g)
	case s.retiring(g):
		s.drain(g)
	}
}

// serve makes g the one that serves, on probation.
func (s *step) serve(g *Gen) {
	g.Phase, s.serving = Serving, g.Number
	s.settle(g)
	s.do(Report{Kind: "serving", N: g.Number, Since: g.wanted},
		SetTimer{g.Number, ProbationTimer, Probation})
	if g.mainGone { // it daemonized: somebody else is to get its signals
		s.do(CheckListening{g.Number})
	}
}

func (s *step) confirmed(g *Gen) {
	if s.recovers(g) {
		s.recovered(g)
		return
	}
	s.restart = nil
	s.Restarts++
	s.do(Report{Kind: "confirmed", N: g.Number, Since: g.wanted}, Decided{g.Number, true})
	previous := s.Gen(s.previous)
	s.previous = 0
	if previous != nil && (previous.drained || previous.Hammered) {
		s.end(previous)
	}
}
