package tracer

import (
	"slices"

	"golang.org/x/sys/unix"
)

// A program that is to be started again may end at any moment from its first
// listen() on. A look at the kernel's tables takes longer than such a program
// may live, and whoever connected meanwhile would be cut. So its socket is taken
// hold of while it stands at the call: before it listens, and so before anybody
// could be in its queue.

// catch takes hold of the socket that task k is about to listen on.
func (t *Tracer) catch(k *task, fd int, inode uint64, backlog int) {
	g := k.proc.gen
	if !t.catches || slices.ContainsFunc(g.listens, func(h *Held) bool { return h.FD >= 0 && h.Inode == inode }) {
		return
	}
	local, err := k.takeFD(fd)
	if err != nil {
		return
	}
	h, err := holdLocal(local, inode)
	if err != nil {
		return
	}
	if !handed(h.Name.Family) || !h.Name.bound() || !t.canBeAskedFor(h) {
		h.close() // what has no name yet, a look finds once it has one
		return
	}
	h.PortZero, h.backlog = t.portZero[inode], backlog
	g.holds(h)
	g.caught = append(g.caught, h)
	t.held = append(t.held, h)
}

// holds remembers that h was taken from g.
func (g *Generation) holds(h *Held) {
	g.listens = slices.DeleteFunc(g.listens, func(o *Held) bool { return o.FD < 0 || o == h })
	g.listens = append(g.listens, h)
}

// Caught is the sockets that g began to listen on since it was last asked, with
// Options.Catch. They are the caller's to close.
func (t *Tracer) Caught(g *Generation) (held []*Held) {
	t.Do(func() {
		held = slices.DeleteFunc(g.caught, func(h *Held) bool { return h.FD < 0 })
		g.caught = nil
	})
	return held
}

// letBind closes what was taken from g and is in the way of a bind to the
// address of at: g closed the socket and wants its place again, as when it reads
// its configuration anew. One that is quiesced may have to be given it back.
func (t *Tracer) letBind(g *Generation, at Name) {
	for _, h := range g.listens {
		if h.FD >= 0 && !g.quiesced && h.Name.Family != unix.AF_UNIX == (at.Family != unix.AF_UNIX) &&
			h.Name.Address.Port() == at.Address.Port() && h.Name.Path == at.Path && !g.has(h.Inode) {
			h.close()
		}
	}
}

// bound reports whether the name is one that a bind could ask for.
func (n Name) bound() bool { return n.Path != "" || n.Address.Port() != 0 }
