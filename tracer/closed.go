package tracer

import (
	"maps"
	"time"

	"hupt/fdtable"
)

// A program may listen on a socket and close it before it waits on it: to see whether a
// port is free, or in a child that ends. close() does not stop, not even in a generation
// that is watched for its waits. So what no process has any more is looked for: when a
// generation waits on something, and as long as it does not wait on all, once a second.
const closedTick = time.Second

// forgetClosed forgets what g listened on, never waited on, and has no more. It reports
// whether there was something.
func (t *Tracer) forgetClosed(g *Generation) (some bool) {
	var open map[uint64]bool
	for inode := range g.listening {
		if g.waiting[inode] {
			continue
		}
		if open == nil {
			open = fdtable.Open(maps.Keys(g.procs))
		}
		if open[inode] {
			continue
		}
		delete(g.listening, inode)
		some = true
		if o := g.takenOffer(inode); o != nil {
			o.closed = true
		}
	}
	return some
}

// awaitsLess looks again whether g waits on all that it listens on, until it does.
func (t *Tracer) awaitsLess(g *Generation) {
	if g.looks {
		return
	}
	g.looks = true
	t.after(closedTick, func() {
		g.looks = false
		if g.settled || !g.watching || len(g.procs) == 0 {
			return
		}
		if t.forgetClosed(g) {
			t.progressed(g)
		}
		if g.pending() {
			t.awaitsLess(g)
		}
	})
}

// progressed tells that g is further on its way, and lets it run at full speed if there
// is nothing left to wait for.
func (t *Tracer) progressed(g *Generation) {
	if !g.pending() {
		t.unwatch(g)
	}
	t.tell(Note{Kind: NoteProgress, Generation: g, Progress: g.progress()})
}
