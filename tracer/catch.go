package tracer

import (
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// A program that is to be started again may end at any moment from its first
// listen() on. A look at the kernel's tables takes longer than such a program
// may live, and whoever connected meanwhile would be cut. So its socket is taken
// hold of while it stands at the call: before it listens, and so before anybody
// could be in its queue.

// catch takes hold of the socket that task k is about to listen on. What a
// generation begins to listen on later, as clients of some protocols do for a
// moment, is left to the looks. It reports whether the task makes its call again.
func (t *Tracer) catch(k *task, fd int, inode uint64, backlog int) (again bool) {
	g := k.proc.gen
	if !t.catches || g.settled || g.quiesced || g.forgotten {
		return false
	}
	if h := t.heldAs(inode, func(h *Held) bool { return h.kept }); h != nil {
		h.last = time.Now()
		return false
	}
	local, err := k.takeFD(fd)
	if err != nil {
		return false
	}
	h, err := holdLocal(local, inode)
	if err != nil {
		return false
	}
	if !handed(h.Name.Family) || !h.Name.bound() || !t.canBeAskedFor(h) {
		h.close() // what has no name yet, a look finds once it has one
		return false
	}
	h.PortZero, h.backlog, h.kept = t.portZero[inode], backlog, true
	g.caught = append(g.caught, h)
	t.held = append(t.held, h)
	return h.file != nil && t.guardAtCall(k)
}

// bound reports whether the name is one that a bind could ask for.
func (n Name) bound() bool { return n.Path != "" || n.Address.Port() != 0 }

// Caught is the sockets that g has begun to listen on since it was last asked,
// with Options.Catch. They are the caller's to close.
func (t *Tracer) Caught(g *Generation) (held []*Held) {
	t.Do(func() { held, g.caught = g.caught, nil })
	return held
}

// dropCaught closes what nobody has asked for.
func (t *Tracer) dropCaught(g *Generation) {
	for _, h := range g.caught {
		h.close()
		t.settlePath(h)
	}
	g.caught = nil
}

// Merge is both lists, the oldest socket first, without what was closed since:
// of two duplicates of a socket, the one in have is kept and the other closed.
func (t *Tracer) Merge(have, more []*Held) (held []*Held) {
	t.Do(func() {
		for _, h := range slices.Concat(have, more) {
			if h.FD < 0 || slices.Contains(held, h) {
				continue
			}
			if slices.ContainsFunc(held, func(o *Held) bool { return o.Inode == h.Inode }) {
				h.close()
				continue
			}
			held = append(held, h)
		}
	})
	sortHeld(held)
	return held
}

// keptFor is what a bind to want gets of the orphans: a socket that g, or whoever
// shared it, closed and binds again, as when a program reads its configuration
// anew. Who waits in its queue is not cut.
func (t *Tracer) keptFor(k *task, fd int, orphans []*Held, want Name) *offer {
	n := slices.IndexFunc(orphans, func(h *Held) bool { return h.matches(want) && t.mayShare(k, fd, h) })
	if n < 0 {
		return nil
	}
	return k.proc.gen.offer(orphans[n])
}

// keptAt is keptFor for a bind to a path.
func (t *Tracer) keptAt(k *task, fd int, at lookup, kind Name) *offer {
	g := k.proc.gen
	orphans := t.orphans(g, func(h *Held) bool { return h.matchesAt(at, kind) && t.mayShare(k, fd, h) })
	if len(orphans) == 0 {
		return nil
	}
	return g.offer(orphans[0])
}

// offer offers h to g, in place of those of its name that are closed by now.
func (g *Generation) offer(h *Held) *offer {
	g.offers = slices.DeleteFunc(g.offers, func(o *offer) bool {
		gone := o.held.FD < 0 && o.held.Name == h.Name
		if gone {
			o.letGo()
			o.dropWill()
		}
		return gone
	})
	o := &offer{held: h}
	g.offers = append(g.offers, o)
	return o
}

// letBind closes those of the orphans that are in the way of a bind to want, which
// task k is about to make of descriptor fd: it wants their place for a socket of
// another kind. Only if they were in the way, which the kernel looks at last
// (EADDRINUSE): the bind is made again then. And only for who could have bound them.
func (t *Tracer) letBind(k *task, fd int, orphans []*Held, want Name) {
	orphans = slices.DeleteFunc(orphans, func(h *Held) bool {
		return t.mayBeTaken(h.Inode) || !h.Name.inTheWay(want) || !t.mayShare(k, fd, h)
	})
	if len(orphans) == 0 {
		return
	}
	before := k.awaitsExit
	k.awaitsExit = func(v int64) {
		if v != -int64(unix.EADDRINUSE) {
			if before != nil {
				before(v)
			}
			return
		}
		for _, h := range orphans {
			h.close()
		}
		if r, err := getRegisters(k.tid); err == nil {
			makeAgain(&r, unix.SYS_BIND)
			setRegisters(k.tid, r)
		}
	}
}

// letBindAt is letBind for a bind of generation g to a path.
func (t *Tracer) letBindAt(g *Generation, at lookup) {
	for _, h := range t.orphans(g, func(h *Held) bool { return h.file != nil && h.file.place == at.place }) {
		if !t.mayBeTaken(h.Inode) {
			h.close()
		}
	}
}

// orphansOf is the orphans of the port, or the name, that task k's bind of
// descriptor fd to the address of at is about, and the whole name that it asks for.
func (t *Tracer) orphansOf(k *task, fd int, at Name) (held []*Held, want Name) {
	if at.Family != unix.AF_UNIX && at.Address.Port() == 0 {
		return nil, Name{} // it asks for none
	}
	held = t.orphans(k.proc.gen, func(h *Held) bool { return h.Name.sameEnd(at) })
	if len(held) == 0 {
		return nil, Name{}
	}
	want, local, ok := asksFor(k, fd, at)
	if !ok {
		return nil, Name{}
	}
	closeDuplicate(local)
	return held, want
}

// orphans is what is kept of sockets that match and that no process has. A
// generation that is quiesced has dummies in place of its own, and to one that is
// forgotten what is kept does not belong.
func (t *Tracer) orphans(g *Generation, match func(*Held) bool) (held []*Held) {
	if g.quiesced || g.forgotten {
		return nil
	}
	var open map[uint64]bool
	for _, h := range t.held {
		if !h.kept || h.FD < 0 || !match(h) {
			continue
		}
		if open == nil {
			open = fdtable.Open(maps.Keys(t.procs))
		}
		if !open[h.Inode] {
			held = append(held, h)
		}
	}
	return held
}

// mayBeTaken reports whether a generation that is on its way may yet ask for the
// socket.
func (t *Tracer) mayBeTaken(inode uint64) bool {
	return slices.ContainsFunc(t.generations, func(g *Generation) bool {
		return !g.settled && slices.ContainsFunc(g.offers, func(o *offer) bool { return !o.taken && o.held.Inode == inode })
	})
}

// sameEnd reports whether both have the same port, or the same path.
func (n Name) sameEnd(o Name) bool {
	return n.Address.Port() == o.Address.Port() && n.Path == o.Path
}

// inTheWay reports whether two sockets of the same port or path can't be bound
// at a time.
func (n Name) inTheWay(o Name) bool {
	if n.Type != o.Type || n.Protocol != o.Protocol || n.NetNS != o.NetNS {
		return false
	}
	if n.Family == o.Family {
		a, b := n.Address.Addr(), o.Address.Addr()
		return n.Family == unix.AF_UNIX || a == b || a.IsUnspecified() || b.IsUnspecified()
	}
	if n.Family == unix.AF_INET {
		n, o = o, n
	}
	return n.Family == unix.AF_INET6 && o.Family == unix.AF_INET && n.Address.Addr().IsUnspecified() && !n.V6Only
}
