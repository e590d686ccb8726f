package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"hupt/generation"
	"hupt/internal/fault"
)

// act does one thing that the policy said.
func (s *Supervisor) act(a generation.Action) {
	switch a := a.(type) {
	case generation.Prepare:
		s.prepare(a)
	case generation.Launch:
		s.launch(a)
	case generation.Execute:
		s.execute(a)
	case generation.Quiesce:
		s.quiesce(a.N)
	case generation.Resume:
		s.resume(a.N)
	case generation.Settled:
		if g := s.gens[a.N]; g != nil {
			s.tracer.Settle(g.traced)
			s.lookAtSockets()
		}
	case generation.ReviveAfter:
		s.reviveAfter(a.After)
	case generation.Admit:
		if g := s.gens[a.N]; g != nil {
			s.tracer.Admit(g.traced)
		}
	case generation.Drain:
		if g := s.gens[a.N]; g != nil {
			g.endDrain()
			g.draining = make(chan struct{})
			over := g.draining
			s.beside(func() { s.drain(g, over) })
		}
	case generation.Signal:
		s.signal(a)
	case generation.Kill:
		switch g := s.gens[a.N]; {
		case g == nil:
		case g.traced != nil:
			g.ending.Store(true)
			s.tracer.Kill(g.traced)
		default:
			g.giveUp()
		}
	case generation.CheckListening:
		s.checkListening(a.N)
	case generation.SetTimer:
		s.setTimer(a.N, a.Timer, a.After)
	case generation.ClearTimer:
		s.clearTimer(a.N, a.Timer)
	case generation.Forget:
		s.forget(a.N)
	case generation.Decided:
		s.decided(a.OK)
	case generation.Recovered:
		s.recovered()
	case generation.Report:
		s.report(a)
	case generation.End:
		for _, h := range s.handovers {
			if !h.ok {
				h.decideAsides()
			}
		}
		s.code, s.reason, s.lastCall, s.ended = a.Code, a.Reason, a.LastCall, true
	}
}

// giveUp ends what is done before a launch.
func (g *gen) giveUp() {
	select {
	case <-g.cancel:
	default:
		close(g.cancel)
	}
}

func (s *Supervisor) report(r generation.Report) {
	e := Event{Kind: EventKind(r.Kind), Generation: r.N, Connections: r.Left, Cut: r.Cut, Reason: r.Reason}
	if g := s.gens[r.N]; g != nil && e.Kind == EventStarting {
		e.Reason = g.again
	}
	if e.Kind == EventFailed && r.N == 0 {
		e.Source = FailedRevive // all others are about a generation
	}
	switch {
	case e.Kind == EventFailed && r.N != 0 && r.N == s.trial.number:
		e.Reason += s.causes()
	case e.Kind == EventConfirmed:
		e.LetGo = s.notKept(r.N)
	}
	if r.Kind == string(EventReviving) {
		e.After = r.After.Seconds()
	} else if !r.Since.IsZero() {
		e.After = time.Since(r.Since).Seconds()
	}
	if g := s.gens[r.N]; g != nil && e.Kind == EventDraining {
		n := g.conns.counts()
		e.Busy, e.Idle, e.Closing = n.busy, n.idle, n.closing
	}
	s.publish(e)
	s.tellSystemd(e)
	if e.Kind == EventServing {
		s.checkDrainPorts(r.N)
	}
	s.hooksOf(e)
}

func (s *Supervisor) signal(a generation.Signal) {
	g := s.gens[a.N]
	if g == nil {
		return
	}
	sig := syscall.Signal(a.Signal)
	if sig == 0 {
		sig = s.cfg.StopSignal
	}
	g.ending.Store(true)
	if a.All || !s.tracer.Signal(g.traced, g.main, sig) {
		s.tracer.SignalAll(g.traced, sig)
	}
	// One that is stopped by job control would not hear it.
	s.tracer.Continue(g.traced)
}

// timersOf are the timers of generation n, or the instance's own, which has no
// number; nil: it has gone.
func (s *Supervisor) timersOf(n int) map[generation.Timer]*time.Timer {
	if n == 0 {
		return s.timers
	}
	if g := s.gens[n]; g != nil {
		return g.timers
	}
	return nil
}

func (s *Supervisor) setTimer(n int, t generation.Timer, after time.Duration) {
	timers := s.timersOf(n)
	if timers == nil {
		return
	}
	s.clearTimer(n, t)
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		s.call(func() {
			// It may have been cleared or set anew while this was on its way.
			if timers[t] == timer {
				delete(timers, t)
				s.step(generation.Expired{N: n, Timer: t})
			}
		})
	})
	timers[t] = timer
}

func (s *Supervisor) clearTimer(n int, t generation.Timer) {
	if timers := s.timersOf(n); timers[t] != nil {
		timers[t].Stop()
		delete(timers, t)
	}
}

// forget drops a generation that has gone.
func (s *Supervisor) forget(n int) {
	g := s.gens[n]
	if g == nil {
		return
	}
	for _, t := range g.timers {
		t.Stop()
	}
	g.endDrain()
	close(g.over)
	if g.notify != nil {
		// Elsewhere: what strangers sent there, and nobody read, goes with it, and
		// that may be a connection whose close waits (SO_LINGER).
		go g.notify.Close()
	}
	delete(s.gens, n)
	maps.DeleteFunc(s.outside, func(d delivery, _ time.Time) bool { return d.pid == g.main })
	if g.traced != nil {
		if s.machine.Reviving() {
			s.keepCaught(g)
		}
		s.tracer.Forget(g.traced)
	}
	s.release(g.file)
	s.mayCloseHeld()
}

func (s *Supervisor) decided(ok bool) {
	if n := len(s.handovers); n > 0 && !s.handovers[n-1].decided {
		h := s.handovers[n-1]
		h.decided, h.ok = true, ok
		if old := s.gens[h.old]; ok && old != nil {
			old.succeeded.Store(true)
		}
		if next := s.gens[h.next]; ok && next != nil {
			s.tracer.Share(next.traced)
		}
		if !s.machine.Recovering() {
			if !ok {
				s.tracer.Mend(h.held)
			}
			h.decideAsides()
		}
	}
	if g := s.gens[s.machine.Serving()]; ok && g != nil {
		s.keep(g.program)
	}
	s.mayCloseHeld()
	for _, g := range s.gens {
		select {
		case g.hurry <- struct{}{}:
		default:
		}
	}
}

// mayCloseHeld closes the held sockets once they have passed: when the old
// generation of a good restart has gone, or the new one of a bad one. Until
// then a late bind gets what it asks for, and connections can wait for it.
func (s *Supervisor) mayCloseHeld() {
	if s.machine.Recovering() || s.machine.Inherits() {
		return // they are all that is left
	}
	keep, gone := s.handovers[:0:0], []*handover(nil)
	for _, h := range s.handovers {
		over := h.decided && (h.ok && s.gens[h.old] == nil || !h.ok && s.gens[h.next] == nil)
		if over {
			if !h.ok {
				s.tracer.Mend(h.held) // what it did since
			}
			gone = append(gone, h)
			s.warnLost(h.old, s.tracer.CloseHeld(h.held))
			for i := range h.asides {
				h.asides[i].over(h.ok)
			}
		} else {
			keep = append(keep, h)
		}
	}
	s.handovers = keep
	for _, h := range gone {
		if h.before != nil {
			s.release(h.before.file)
		}
	}
}

func (s *Supervisor) resume(n int) {
	g := s.gens[n]
	if g == nil {
		return
	}
	g.endDrain()
	s.tracer.Rejoin(g.surplus)
	held := append(slices.Clone(g.held), g.surplus...)
	s.tracer.Mend(held)
	s.beside(func() {
		for {
			fault.Point("resume")
			left, err := s.tracer.Resume(g.traced, held)
			if err != nil {
				s.call(func() {
					s.publish(Event{Kind: EventWarning, Generation: n, Reason: fmt.Sprintf("resume: %v", err)})
				})
			}
			if s.tracer.ForgetConns(g.traced) {
				s.warn(n, "it was made to say Connection: close, which can't be undone: it is slower until the next restart")
			}
			if err != nil || len(left) == 0 {
				s.later(generation.Resumed{N: n})
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// checkListening looks whether a generation whose main process has gone still
// listens on something, and chooses another main process if so.
func (s *Supervisor) checkListening(n int) {
	g := s.gens[n]
	if g == nil {
		return
	}
	s.beside(func() {
		pid := s.listener(s.tracer.Pids(g.traced))
		s.call(func() {
			if pid != 0 {
				g.setMain(pid)
			}
			s.step(generation.Listened{N: n, On: pid != 0})
		})
	})
}
