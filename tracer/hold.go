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
	if g.settled || g.held == holdsNoMore || k.proc.frozen || !g.adopted(inode) {
		return false
	}
	if g.held == holdsNobody {
		g.held = holdsSome
		time.AfterFunc(holdTimeout, func() { t.Do(func() { t.release(g) }) })
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

// adopted reports whether g got the held socket with that inode.
func (g *Generation) adopted(inode uint64) bool {
	for _, o := range g.offers {
		if o.taken && o.held.Inode == inode {
			return true
		}
	}
	return false
}

// release lets the tasks of g that are kept waiting go on, and keeps none from
// here on.
func (t *Tracer) release(g *Generation) {
	g.held = holdsNoMore
	if !g.pending() {
		t.unwatch(g)
	}
	for _, p := range g.procs {
		for _, k := range p.tasks {
			if k.held {
				t.resume(k, 0)
			}
		}
	}
}
