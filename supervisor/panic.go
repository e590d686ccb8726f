package supervisor

import (
	"fmt"
	"time"

	"hupt/generation"
	"hupt/tracer"
)

// ExitPanic is Run's exit code when hupt ended by a fault of its own. The program
// lives on.
const ExitPanic = 122

// InternalError is the end of hupt by a fault of its own. Whatever served goes
// on without hupt.
type InternalError struct {
	*tracer.Panic
	Left string // what is left, in words
}

func (e *InternalError) Error() string {
	return fmt.Sprintf("internal error: %v; %s", e.Value, e.Left)
}

// panics is where a loop hears of the panics of what runs beside it, and of the
// tracer's.
type panics chan *tracer.Panic

func newPanics() panics { return make(panics, 1) }

// put ends the loop.
func (c panics) put(p *tracer.Panic) {
	select {
	case c <- p:
	default: // another one was first
	}
}

// catch is deferred by what runs beside the loop.
func (c panics) catch() {
	if p := tracer.AsPanic(recover()); p != nil {
		c.put(p)
	}
}

// beside runs f beside the loop. A panic of it is the loop's to answer.
func (c panics) beside(f func()) {
	go func() {
		defer c.catch()
		f()
	}()
}

func (s *Supervisor) beside(f func()) { s.panics.beside(f) }

// tellPanic is deferred by what only looks. It tells of a panic and lets it go
// on to whoever called, who must not take what there is for an answer.
func (s *Supervisor) tellPanic() {
	if p := tracer.AsPanic(recover()); p != nil {
		go s.mishap(p, false)
		panic(p)
	}
}

// mishap: hupt failed at a stop of a task, which went on.
func (s *Supervisor) mishap(p *tracer.Panic, fatal bool) {
	if fatal {
		s.panics.put(p)
		return
	}
	s.call(func() {
		s.publish(Event{Kind: EventWarning, Reason: mishapWords(p)})
	})
}

func mishapWords(p *tracer.Panic) string {
	return fmt.Sprintf("internal error, which the program and hupt outlived: %v; please report it, with this: %s", p.Value, p.Stack)
}

// letGoTime is how long hupt takes at most to let go of everything.
const letGoTime = 3 * time.Second

// letGo leaves the program to itself, in order: who is on the way to serve is
// ended, lest two versions serve for ever; who was told to stop accepting while
// nobody else serves accepts again; and nothing stands still that hupt stopped.
func (s *Supervisor) letGo(p *tracer.Panic) *InternalError {
	s.programPidfile.written = 0 // what it names lives on
	return inOrder(p, "nothing of it is left", func(e *InternalError) {
		left, keep := s.leaveOne()
		e.Left = left
		e.lastStops(s.tracer)
		s.tracer.LetGo(keep)
	})
}

// inOrder is the end by a fault, with what f does about it in the time that
// there is: what is broken may be broken further.
func inOrder(p *tracer.Panic, left string, f func(*InternalError)) *InternalError {
	done := make(chan *InternalError, 1)
	go func() {
		e := &InternalError{Panic: p, Left: left}
		defer func() {
			if recover() != nil {
				e.Left += "; it could not be let go of in order"
			}
			done <- e
		}()
		f(e)
	}()
	select {
	case e := <-done:
		return e
	case <-time.After(letGoTime):
		return &InternalError{Panic: p, Left: "what hupt had to do could not be done in time"}
	}
}

// lastStops adds what the tracer did last, if the panic was elsewhere.
func (e *InternalError) lastStops(t interface{ LastStops() []string }) {
	if e.Stops == nil {
		e.Stops = t.LastStops()
	}
}

// leaveOne sees to it that one generation serves. It says which, and whom to
// leave alone: whoever is only on the way to serve is not wanted then. nil: all.
func (s *Supervisor) leaveOne() (left string, keep []*tracer.Generation) {
	var serves, drains *gen
	for _, g := range s.machine.Gens() {
		mine := s.gens[g.Number]
		if mine == nil || mine.traced == nil || g.Phase == generation.Starting {
			continue
		}
		keep = append(keep, mine.traced)
		switch {
		case g.Phase == generation.Quiescing || g.Phase == generation.Serving:
			serves = mine
		case g.Phase == generation.Draining && !g.Failed:
			drains = mine
		}
	}
	if serves == nil && drains != nil {
		s.tracer.Resume(drains.traced, drains.held)
		serves = drains
	}
	if serves == nil {
		return "nothing served", nil
	}
	return fmt.Sprintf("generation %d (pid %d) serves on without hupt, which can't restart it any more", serves.n, serves.main), keep
}

// mishap: hupt failed at a stop of a task, which went on.
func (p *Pool) mishap(failed *tracer.Panic, fatal bool) {
	if fatal {
		p.panics.put(failed)
		return
	}
	p.call(func() { p.publish(Event{Kind: EventWarning, Reason: mishapWords(failed)}) })
}

// letGo leaves each process of the pool to itself.
func (p *Pool) letGo(failed *tracer.Panic) *InternalError {
	left := fmt.Sprintf("%d processes are left to serve on without hupt, which can't restart them any more", len(p.members))
	return inOrder(failed, left, func(e *InternalError) {
		e.lastStops(p.tracer)
		p.tracer.LetGo(nil)
	})
}
