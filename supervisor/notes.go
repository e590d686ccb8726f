package supervisor

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/tracer"
)

// listenSoon is when a listen() that was about to be made has been made.
const listenSoon = 10 * time.Millisecond

// note takes what the tracer saw to the policy.
func (s *Supervisor) note(n tracer.Note) {
	g := s.gens[n.Generation.Number]
	if g == nil {
		return // it has gone
	}
	if !g.ready {
		g.early = append(g.early, n)
		return
	}
	switch n.Kind {
	case tracer.NoteListened:
		// It listens after this, and before anybody could connect.
		time.AfterFunc(listenSoon, func() { s.call(s.lookAtSockets) })
	case tracer.NoteAdopted:
		if g.n != s.machine.Serving() { // that one has its own back
			s.publish(Event{Kind: EventAdopted, Generation: g.n, Address: n.Name.String()})
		}
		s.step(generation.Progressed{N: g.n, P: generation.Progress(n.Progress)})
	case tracer.NoteProgress:
		s.step(generation.Progressed{N: g.n, P: generation.Progress(n.Progress)})
		s.lookAtSockets()
	case tracer.NoteFailedCall:
		s.trial.callFailed(g.n, n)
		s.step(generation.CallFailed{N: g.n, Text: n.Text})
	case tracer.NoteWarning:
		s.publish(Event{Kind: EventWarning, Generation: g.n, Reason: n.Text})
	case tracer.NoteExit:
		if n.PID == g.main {
			exit := exitOf(n.Status)
			g.exit = &exit
			s.trial.ended(g.n)
		}
		s.step(generation.Exited{N: g.n, Main: n.PID == g.main, Last: n.Last, Exit: exitOf(n.Status)})
	case tracer.NoteRestartSignal:
		s.outside[delivery{syscall.Signal(n.Signal), 0}] = time.Now()
		s.restartBySignal(n.Sender)
	case tracer.NoteOutsideSignal:
		if n.Kernel {
			s.terminal[syscall.Signal(n.Signal)] = time.Now()
		}
		if n.PID == g.main {
			s.outside[delivery{syscall.Signal(n.Signal), n.PID}] = time.Now()
		}
	case tracer.NoteGroupStop:
		s.groupStop(g, n.Signal)
	case tracer.NoteContinued:
		s.continued()
	}
}

// stopsBoth is how long after hupt heard of it a signal of the terminal may stop
// the program, on a machine that is busy.
const stopsBoth = 3 * time.Second

// groupStop: the program's first process was stopped. If the terminal did it, or
// whoever did it to hupt, too, the shell waits for hupt, so hupt stops, too. A
// program that somebody else stops is somebody else's to continue, and hupt
// must be there to let it.
func (s *Supervisor) groupStop(g *gen, sig unix.Signal) {
	s.stopped = true
	switch sig {
	case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		if last := s.terminal[syscall.Signal(sig)]; time.Since(last) < stopsBoth {
			s.late = !s.caughtStop.After(last.Add(-together))
			s.stopToo()
		}
	}
}

// stopToo stops hupt, once for each stop of the program.
func (s *Supervisor) stopToo() {
	if !s.stopsToo && (s.member == nil || s.member.number == 1) { // one of them is enough
		s.stopsToo = true
		s.stopSelf()
	}
}

// continued: the program goes on.
func (s *Supervisor) continued() {
	s.stopped, s.stopsToo = false, false
	// The signal that is late has come by then, if it ever will.
	time.AfterFunc(together, func() { s.call(func() { s.late = false }) })
}
