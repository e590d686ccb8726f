package tracer

import (
	"time"
)

// A new generation that accepts on its first port and then fails to open its
// second would lose what it accepted: the queue is shared with the generation
// that serves. So the first accept() of each of its threads on an adopted
// socket is kept waiting until the generation serves; the connections stay in
// the queue, where the old generation takes them.
//
// A program that needs that very thread to get ready would never be: so nothing
// waits longer than holdTimeout, and only once.
const holdTimeout = time.Second

// holdAccept keeps a task at the entry of its accept on socket inode. It
// reports false if the task may go on.
func (t *Tracer) holdAccept(k *task, inode uint64) bool {
	g := k.proc.gen
	o := g.takenOffer(inode)
	if o == nil {
		return false
	}
	if g.settled || g.held == holdsNoMore {
		return t.waitsForFlag(k, o)
	}
	if k.proc.frozen {
		t.sendBack(k)
		return true
	}
	if g.held == holdsNobody {
		g.held = holdsSome
		t.after(holdTimeout, func() { t.release(g) })
	}
	k.held = true
	return true
}

// holding is whether a generation's accepts are kept waiting.
type holding int

const (
	holdsNobody holding = iota
	holdsSome
	holdsNoMore
)

// release lets the tasks of g that are kept waiting go on, and keeps none from
// here on, but for what nonblock.go says.
func (t *Tracer) release(g *Generation) {
	held := t.holdNoMore(g)
	differs := len(held) > 0 && g.differs()
	for _, k := range held {
		if differs {
			t.sendBack(k) // to be looked at again
		} else {
			t.resume(k, 0)
		}
	}
}

// releaseToSignal is release for a generation that was just sent a signal,
// which it is to see first.
func (t *Tracer) releaseToSignal(g *Generation) {
	for _, k := range t.holdNoMore(g) {
		t.sendBack(k)
	}
}

// sendBack takes the call of a task that is kept waiting back, to be made again
// after whatever it is to stop for: accept() does not look for signals, or for
// an INTERRUPT, when the queue has something, and a program that is about to
// die would take a client along.
func (t *Tracer) sendBack(k *task) {
	r, err := getRegisters(k.tid)
	if err != nil {
		return // it is dying
	}
	nr := syscallNumber(&r)
	skipCall(&r)
	if setRegisters(k.tid, r) != nil {
		return
	}
	k.awaitsExit = func(int64) {
		if r, err := getRegisters(k.tid); err == nil {
			makeAgain(&r, nr)
			setRegisters(k.tid, r)
		}
	}
	t.resume(k, 0) // with an INTERRUPT, if the process is frozen
}

// holdNoMore is the tasks of g that are kept waiting, to be resumed.
func (t *Tracer) holdNoMore(g *Generation) (held []*task) {
	g.held = holdsNoMore
	if !g.pending() {
		t.unwatch(g)
	}
	for _, p := range g.procs {
		for _, k := range p.tasks {
			if k.held {
				held = append(held, k)
			}
		}
	}
	return held
}
