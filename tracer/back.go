package tracer

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// A generation may close a socket and bind its address anew at any moment (to read
// its configuration again, say), while a restart is under way, too. Without hupt the
// address would be free then; but hupt holds the socket for the next generation. So
// until it is quiesced, it gets its socket back, and afterwards what stands in for it.

// hasBack gives task k, which is about to bind its descriptor fd, socket inode, to the
// address of at, what its generation had there before: the held socket, or, if it is
// quiesced, what stands in for that. It reports whether there is such a one.
func (t *Tracer) hasBack(k *task, fd int, inode uint64, at Name) bool {
	if at.Family != unix.AF_UNIX && at.Address.Port() == 0 {
		return false
	}
	var want Name
	asked, ok := false, false
	return t.back(k, fd, inode, func(h *Held) bool {
		if !h.Name.sameEnd(at) {
			return false
		}
		if !asked {
			var local int
			if want, local, ok = asksFor(k, fd, at); ok {
				closeDuplicate(local)
			}
			asked = true
		}
		return ok && h.matches(want)
	})
}

// hasBackAt is hasBack for a bind to a path.
func (t *Tracer) hasBackAt(k *task, fd int, inode uint64, at lookup, kind Name) bool {
	return t.back(k, fd, inode, func(h *Held) bool { return h.matchesAt(at, kind) })
}

func (t *Tracer) back(k *task, fd int, inode uint64, match func(*Held) bool) bool {
	g := k.proc.gen
	for _, h := range t.held {
		// A path stays when its socket is closed: unless the generation took it away, a
		// bind to it fails.
		if !h.isFor(g) || !match(h) || h.file != nil && h.file.freed != g || !t.mayShare(k, fd, h) {
			continue
		}
		d := g.dummies[h.Inode]
		switch {
		case !g.quiesced:
			d = nil
		case d != nil && g.has(d.inode) && !(shares(d.fd) && k.shares(fd)):
			return false // it has not closed it: the kernel says that the address is in use
		}
		if h.file != nil {
			h.file.removed, h.file.freed = nil, nil
		}
		if d != nil { // of a group, any will do
			if err := t.standIn(k, inode, d); err != nil && !gone(err) {
				t.tell(Note{Kind: NoteFailedCall, Generation: g, PID: k.proc.pid,
					Text: fmt.Sprintf("bind %s, which is another generation's by now: %v", h.Name, err)})
			}
			return true
		}
		if g.has(h.Inode) {
			continue
		}
		adopted := h.adopted
		t.handOver(k, inode, g.offer(h))
		h.adopted = adopted // which is said of the next generation
		return true
	}
	return false
}

// shares reports whether task k's descriptor fd is to be one of an SO_REUSEPORT group.
func (k *task) shares(fd int) bool {
	local, err := k.takeFD(fd)
	if err != nil {
		return false
	}
	defer closeDuplicate(local)
	return shares(local)
}

// standInByRename is for a bind to a temporary name and a rename of that over the path
// of held socket inode, by a generation that is quiesced: the file goes, as it would.
func (t *Tracer) standInByRename(k *task, c pathCall, inode uint64) bool {
	g := k.proc.gen
	d := g.dummies[inode]
	source, temporary := t.fileAt(k, c.from)
	by, ok := credentialsOf(k.tid)
	if d == nil || temporary == nil || !ok || !g.has(source) || !k.mayRemove(temporary.lookup) || g.kindOf(source) != d.held.kind() {
		return false
	}
	temporary.unlinkAs(by)
	delete(t.files, source)
	if err := t.standIn(k, source, d); err != nil && !gone(err) {
		t.tell(Note{Kind: NoteFailedCall, Generation: g, PID: k.proc.pid,
			Text: fmt.Sprintf("rename over %s, which is another generation's by now: %v", d.held.Name, err)})
	}
	return true
}

// isFor reports whether h was taken from g for the generation after it.
func (h *Held) isFor(g *Generation) bool { return h.of == g && !h.kept && h.FD >= 0 }

func (t *Tracer) standIn(k *task, inode uint64, d *dummy) error {
	table, err := t.tableOf(k, inode)
	if err != nil {
		return err
	}
	i, err := t.putAtCall(k, inode, table, d.fd)
	if err != nil {
		return err
	}
	if err := i.endAtCall(0); err != nil {
		return err
	}
	_, err = t.swap(k.proc.gen, map[uint64]int{inode: d.fd})
	return err
}

// opens: the call that task k is about to make of its descriptor fd may make of it a
// socket to which clients come. Of an SO_REUSEPORT group each process of a program opens
// its own, and one may be slower than a restart is quick, or be started anew: what waits
// there would go when its generation goes.
func (t *Tracer) opens(k *task, fd int) {
	g := k.proc.gen
	if !g.settled {
		return
	}
	k.alsoAwaitExit(func(v int64) {
		if v != 0 || g.opened || !slices.ContainsFunc(t.held, func(h *Held) bool { return h.isFor(g) }) {
			return
		}
		local, err := k.takeFD(fd)
		if err != nil {
			return
		}
		defer closeDuplicate(local)
		n, err := nameOf(local)
		g.opened = err == nil && shares(local) &&
			slices.ContainsFunc(t.held, func(h *Held) bool { return h.isFor(g) && h.Name == n })
	})
}

// Opened reports whether g has opened a socket at an address at which one of its own is
// held, since it was last looked at.
func (t *Tracer) Opened(g *Generation) (opened bool) {
	t.Do(func() { opened = g.opened })
	return opened
}

// Late takes hold of what g has opened so since it was looked at for held.
func (t *Tracer) Late(g *Generation, held []*Held) (late []*Held, err error) {
	all, err := t.snapshot(g, held, false)
	if err != nil {
		return nil, err
	}
	t.Do(func() {
		names, known := make(map[Name]bool), make(map[uint64]bool)
		for _, h := range held {
			names[h.Name], known[h.Inode] = true, true
		}
		for _, h := range all {
			switch {
			case known[h.Inode]:
			case names[h.Name] && h.FD >= 0 && shares(h.FD):
				late = append(late, h)
			default: // it goes with g, as it would have
				h.close()
				t.settlePath(h)
			}
		}
	})
	return late, nil
}

// OfferLate offers g what was taken hold of since it was launched.
func (t *Tracer) OfferLate(g *Generation, late []*Held) {
	t.Do(func() {
		for _, h := range late {
			o := &offer{held: h}
			for _, e := range g.offers {
				if e.held.Name == h.Name {
					o.address = e.address
				}
			}
			g.offers = append(g.offers, o)
		}
	})
}
