package tracer

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// Pids are the processes of g that live, in order.
func (t *Tracer) Pids(g *Generation) (pids []int) {
	t.Do(func() { pids = slices.Sorted(maps.Keys(g.procs)) })
	return pids
}

// Signal sends sig to process pid of g if it lives. A task is not reaped but
// by this thread, so the pid can't be somebody else's by now. SIGCONT is for
// one that is stopped and that nobody has told to go on.
func (t *Tracer) Signal(g *Generation, pid int, sig unix.Signal) (sent bool) {
	t.Do(func() {
		if p := g.procs[pid]; p != nil && (sig != unix.SIGCONT || p.waitsForCont()) {
			sent = unix.Kill(pid, sig) == nil
			t.releaseToSignal(g) // what is kept waiting would not hear it
		}
	})
	return sent
}

// SignalAll sends sig to every process of g.
func (t *Tracer) SignalAll(g *Generation, sig unix.Signal) {
	t.Do(func() {
		for pid := range g.procs {
			unix.Kill(pid, sig)
		}
		t.releaseToSignal(g)
	})
}

// Continue sends SIGCONT to the processes of g that job control stopped.
func (t *Tracer) Continue(g *Generation) {
	t.Do(func() {
		for pid, p := range g.procs {
			if p.waitsForCont() {
				unix.Kill(pid, unix.SIGCONT)
			}
		}
	})
}

// waitsForCont reports whether job control stopped the process and nobody has
// sent it a SIGCONT since. One that was sent stays pending until the tracer has
// let the task out of its stop, so this is exact.
func (p *process) waitsForCont() bool {
	for tid, k := range p.tasks {
		if k.group != 0 {
			s, ok := signalSets(tid, "SigPnd", "ShdPnd")
			return ok && (s[0]|s[1])&(1<<(unix.SIGCONT-1)) == 0
		}
	}
	return false
}

// Kill sends SIGKILL to every process of g, and to whatever it bears from now
// on.
func (t *Tracer) Kill(g *Generation) {
	t.Do(func() { t.kill(g) })
}

func (t *Tracer) kill(g *Generation) {
	g.killed = true
	for pid := range g.procs {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// Forget drops what is kept for a generation that has gone.
func (t *Tracer) Forget(g *Generation) {
	t.Do(func() {
		t.dropCaught(g)
		g.forgotten = true
		t.share(g) // there is nothing left of them
		t.closeDummies(g)
		t.dropShared(g)
		t.generations = slices.DeleteFunc(t.generations, func(x *Generation) bool { return x == g })
	})
}

// Stats are counts since the tracer began: ptrace stops by kind, and system
// calls made inside programs.
func (t *Tracer) Stats() (stops map[string]uint64, injected uint64) {
	t.Do(func() { stops, injected = maps.Clone(t.stops), t.injected })
	return stops, injected
}

// CloseHeld gives hupt's duplicates back. A generation to which they were
// offered gets them no more.
// It reports how many surplus sockets (see Surplus) had something in their
// queues, which is lost.
func (t *Tracer) CloseHeld(held []*Held) (lost int) {
	t.Do(func() {
		lost = t.dropSurplus(held)
		for _, h := range held {
			h.close()
			t.settlePath(h)
		}
	})
	return lost
}

// Adopted is the inodes of the held sockets that g got.
func (t *Tracer) Adopted(g *Generation) map[uint64]bool {
	out := make(map[uint64]bool)
	t.Do(func() {
		for _, o := range g.offers {
			if o.taken {
				out[o.held.Inode] = true
			}
		}
	})
	return out
}
