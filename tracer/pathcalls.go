package tracer

import (
	"slices"

	"hupt/fdtable"
)

// A Unix socket's path must not vanish, not for an instant: not when a new
// version unlinks it before it binds, nor when an old one does so at its end,
// as Go's net, node and gunicorn do. So where another generation needs the
// socket, unlinking its path is not done, and the program is told that it was.
//
// Nothing is kept of who needs what: the kernel is asked when it matters, that
// is, at an unlink or rename of something with the name of such a file. What
// hupt itself holds is needed, too: by a generation that is yet to come.

// pathCall is a system call that takes a path away.
type pathCall struct {
	from, to pathArg // to: of a rename, where something may be replaced
	rename   bool
	rmdir    bool // it does not touch sockets
}

// pathArg is a path as a system call is given it.
type pathArg struct {
	dirfd int
	addr  uint64 // of the text
}

// onPathCall: the task is about to unlink or rename something.
func (t *Tracer) onPathCall(k *task, si syscallInfo) {
	c, ok := pathCallOf(int(si.Nr), si.Args)
	if t.binds(k.proc.gen) {
		t.later(k, bindTick, func() { t.onPathCall(k, si) })
		return
	}
	t.stops["seccomp:path"]++
	if !ok || c.rmdir || !t.dropPath(k, c) {
		t.noteUnlink(k)
		t.resume(k, 0)
	}
}

// dropPath handles the call if it concerns a socket that another generation
// needs. It reports false if the call is to be made as it stands.
func (t *Tracer) dropPath(k *task, c pathCall) bool {
	g := k.proc.gen
	if inode, f := t.fileAt(k, c.from); f != nil && t.neededAt(g, inode, c.rename) {
		by, ok := credentialsOf(k.tid)
		if !ok || !k.mayRemove(f.lookup) || c.rename && !k.mayPut(c.to) {
			return false
		}
		f.freed = g
		if !g.quiesced || !t.othersHave(g, inode) {
			f.remove(g, by)
		}
		return t.succeed(k)
	}
	if !c.rename {
		return false
	}
	inode, f := t.fileAt(k, c.to)
	switch {
	case f == nil || !t.neededBeside(g, inode) || !k.mayRemove(f.lookup) || !k.mayPut(c.from):
		return false
	case g.quiesced:
		return t.standInByRename(k, c, inode) || t.succeed(k)
	}
	return t.adoptByRename(k, c, inode, f)
}

// mayPut reports whether task k may make a name where the path leads, in place of
// what may be there, and so take that away.
func (k *task) mayPut(a pathArg) bool {
	path, err := readPath(k.tid, a.addr)
	if err != nil {
		return false
	}
	l, err := lookUp(k.tid, a.dirfd, path)
	if err != nil {
		return false
	}
	if _, err := l.stat(); err == nil {
		return k.mayRemove(l)
	}
	return k.mayCreate(l)
}

// fileAt is the socket, and its file, that a path of task k leads to.
func (t *Tracer) fileAt(k *task, a pathArg) (inode uint64, f *socketFile) {
	if len(t.files) == 0 {
		return 0, nil
	}
	path, err := readPath(k.tid, a.addr)
	if err != nil {
		return 0, nil
	}
	var l *lookup
	for inode, f := range t.files {
		if f.name != baseName(path) {
			continue
		}
		if l == nil {
			found, err := lookUp(k.tid, a.dirfd, path)
			if err != nil {
				return 0, nil
			}
			l = &found
		}
		if f.place == l.place && f.there() {
			return inode, f
		}
	}
	return 0, nil
}

// settlePath unlinks the path of a held socket after all, once its handover is
// over, if a generation did and nobody needs it: the last one ended, the new
// one serves elsewhere, or it is the one that serves that wanted it.
func (t *Tracer) settlePath(h *Held) {
	f := h.file
	if f == nil || f.removed == nil {
		return
	}
	if t.holds(h.Inode) || t.standsIn(nil, h.Inode) {
		return // another handover of it goes on
	}
	by := f.removed
	f.removed = nil // whoever needs it may unlink it later
	if serves := by.settled && !by.quiesced && len(by.procs) > 0; serves || !t.neededBeside(nil, h.Inode) {
		f.unlink()
		delete(t.files, h.Inode)
	}
}

// neededBeside reports whether a generation other than g has the socket, could
// get it back, or is to be offered it.
func (t *Tracer) neededBeside(g *Generation, inode uint64) bool {
	return t.neededAt(g, inode, false)
}

// neededAt reports whether the path of a socket is to stay when g removes or
// renames it. One that is g's alone, and of which hupt keeps a duplicate, is
// to stay where it is looked for after g has gone; but it may be given another
// name.
func (t *Tracer) neededAt(g *Generation, inode uint64, rename bool) bool {
	own := rename && !g.quiesced && g.has(inode)
	return t.holdsAs(inode, func(h *Held) bool { return !own || !h.kept }) || t.othersHave(g, inode) || t.standsIn(g, inode)
}

// othersHave reports whether a generation other than g has the socket.
func (t *Tracer) othersHave(g *Generation, inode uint64) bool {
	return slices.ContainsFunc(t.generations, func(o *Generation) bool { return o != g && o.has(inode) })
}

// holds reports whether hupt has a duplicate of the socket.
func (t *Tracer) holds(inode uint64) bool {
	return t.holdsAs(inode, func(*Held) bool { return true })
}

// holdsAs reports whether hupt has a duplicate of the socket that is as said.
func (t *Tracer) holdsAs(inode uint64, as func(*Held) bool) bool { return t.heldAs(inode, as) != nil }

// heldAs is hupt's duplicate of the socket that is as said; nil: it has none.
func (t *Tracer) heldAs(inode uint64, as func(*Held) bool) *Held {
	n := slices.IndexFunc(t.held, func(h *Held) bool { return h.FD >= 0 && h.Inode == inode && as(h) })
	if n < 0 {
		return nil
	}
	return t.held[n]
}

// standsIn reports whether a generation other than g has a dummy for the socket,
// which it will be given back if its successor dies.
func (t *Tracer) standsIn(g *Generation, inode uint64) bool {
	for _, o := range t.generations {
		if o != g && o.quiesced && o.dummies[inode] != nil && len(o.procs) > 0 {
			return true
		}
	}
	return false
}

// succeed lets a task that stands at a seccomp stop go on as if its call had
// been made and returned 0.
func (t *Tracer) succeed(k *task) bool { return t.answerCall(k, 0) }

// answerCall lets a task that stands at a seccomp stop go on as if its call had
// been made and returned v.
func (t *Tracer) answerCall(k *task, v int64) bool {
	r, err := getRegisters(k.tid)
	if err != nil {
		return false
	}
	setResult(&r, v)
	if setRegisters(k.tid, r) != nil {
		return false
	}
	t.resume(k, 0)
	return true
}

// adoptByRename: the task renames something over the path of a held socket. If
// that is a socket which its generation bound to a temporary name, as careful
// servers do so that their path never leads nowhere, it is what means that
// path: it gets the held socket now.
func (t *Tracer) adoptByRename(k *task, c pathCall, inode uint64, f *socketFile) bool {
	g := k.proc.gen
	source, temporary := t.fileAt(k, c.from)
	if temporary == nil || !g.has(source) || !k.mayRemove(temporary.lookup) {
		return false
	}
	var got *offer
	for _, o := range g.offers {
		if o.held.FD >= 0 && o.held.Inode == inode && (!o.taken || !g.has(inode)) && g.kindOf(source) == o.held.kind() && t.mayHave(k, -1, o.held) {
			got = o
		}
	}
	if got == nil {
		if kept := t.orphans(g, func(h *Held) bool { return h.Inode == inode && g.kindOf(source) == h.kind() && t.mayShare(k, -1, h) }); len(kept) > 0 {
			got = g.offer(kept[0])
		}
	}
	own := false // which is its own, and held for the next generation
	if n := slices.IndexFunc(t.held, func(h *Held) bool {
		return h.isFor(g) && h.Inode == inode && !g.has(inode) && g.kindOf(source) == h.kind() && t.mayShare(k, -1, h)
	}); got == nil && n >= 0 {
		got, own = g.offer(t.held[n]), true
	}
	if got == nil {
		return false
	}
	st, err := temporary.stat()
	by, ok := credentialsOf(k.tid)
	if err != nil || !ok || idOf(&st) != temporary.id {
		return false
	}
	// What it set on its own file while that had another name.
	f.set(modeOf(&st))
	f.asked, f.removed = modeOf(&st), nil
	temporary.unlinkAs(by)
	delete(t.files, source)
	adopted := got.held.adopted
	t.handOver(k, source, got)
	if own {
		got.held.adopted = adopted
	}
	return true
}

// kind is what a socket must be to be swapped for the held one.
func (h *Held) kind() Name {
	n := h.Name
	n.Path, n.File, n.NetNS = "", fdtable.FileID{}, 0
	return n
}

// kindOf is the kind of a socket that g has.
func (g *Generation) kindOf(inode uint64) (n Name) {
	for pid := range g.procs {
		sockets, err := fdtable.Sockets(pid)
		if err != nil {
			continue
		}
		for fd, i := range sockets {
			if i != inode {
				continue
			}
			if local, err := takeFD(pid, fd); err == nil {
				n, _ = kindOf(local)
				closeDuplicate(local)
				n.NetNS = 0
				return n
			}
		}
	}
	return n
}
