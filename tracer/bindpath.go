package tracer

import (
	"golang.org/x/sys/unix"
)

// onBindPath is onBind for a Unix socket that is to have a path.
func (t *Tracer) onBindPath(k *task, si syscallInfo, inode uint64, want Name) {
	fd := int(int32(si.Args[0]))
	g := k.proc.gen
	local, err := k.takeFD(fd)
	if err != nil {
		t.resume(k, 0)
		return
	}
	kind, err := kindOf(local)
	at, lookErr := lookUp(k.tid, unix.AT_FDCWD, want.Path)
	adoptable := err == nil && lookErr == nil && kind.Family == unix.AF_UNIX && isFree(local)
	var asked fileMode
	if adoptable {
		asked = bindMode(k.tid, local, at)
	}
	// Before the task goes on: what it closes is to be closed, and gone from its
	// epoll sets.
	closeDuplicate(local)
	if !adoptable {
		t.watchBind(k, want)
		t.resume(k, 0) // the kernel will say why not
		return
	}
	take := func(o *offer) bool {
		if o == nil {
			return false
		}
		// Owner and mode are those of a file that is put in the place of the one there.
		if k.mayRemove(at) {
			o.wants = asked
		}
		if st, err := at.stat(); err == nil {
			o.changed = st.Ctim
		}
		o.held.file.removed = nil
		t.handOver(k, inode, o)
		return true
	}
	if !k.mayCreate(at) {
		t.watchBind(k, want)
		t.resume(k, 0) // the kernel says no
		return
	}
	if take(t.offerAt(k, fd, at, kind)) {
		return
	}
	if t.hasBackAt(k, fd, inode, at, kind) {
		return
	}
	name := sharedPath(kind, at.place)
	if t.reusePort && (t.waitsForUnlink(k, si) || t.shareSocket(k, si, inode, name)) || take(t.keptAt(k, fd, at, kind)) {
		return
	}
	// A socket of another kind, at a path that the program believes to be free.
	for other, f := range t.files {
		if f.removed == nil || f.place != at.place {
			continue
		}
		if needed := t.neededBeside(g, other); f.removed == g && !t.reusePort || !needed {
			f.removed = nil
			f.unlink()
		}
	}
	_, err = at.stat()
	fresh := err == unix.ENOENT
	noted := false
	t.watchBind(k, want)
	k.alsoAwaitExit(func(v int64) {
		if v != 0 {
			return
		}
		local, err := k.takeFD(fd)
		if err != nil {
			return
		}
		defer closeDuplicate(local)
		var st unix.Stat_t
		if unix.Fstat(local, &st) != nil || st.Ino != inode {
			return // another one by now
		}
		id, ok := boundFile(local, at, want.Path, fresh, asked)
		if !ok || !t.mayNote(g, asked.uid) {
			return
		}
		noted = true
		t.letBindAt(g, at)
		t.noteFile(inode, at, id, asked)
	})
	if t.reusePort {
		t.noteBinding(k, inode, name, func() bool { return noted })
	}
	t.onBindGather(k, fd, inode)
	t.resume(k, 0)
}

// offerAt is what a bind to a path gets: the held socket of that kind whose
// file is there. Paths belong to no network namespace.
func (t *Tracer) offerAt(k *task, fd int, at lookup, kind Name) *offer {
	g := k.proc.gen
	for _, o := range g.offers {
		if o.held.matchesAt(at, kind) && (!o.taken || !g.has(o.held.Inode)) && t.mayHave(k, fd, o.held) {
			return o
		}
	}
	return nil
}

// matchesAt is matches for a path.
func (h *Held) matchesAt(at lookup, kind Name) bool {
	kind.NetNS = 0
	return h.FD >= 0 && h.file != nil && h.file.place == at.place && h.kind() == kind && h.file.there()
}

// settleModes gives the files of sockets that g adopted the owner and the
// permissions that its bind would have given them.
//
// Not before it serves: a version that binds and then changes the mode would
// shut the clients of the one before out in between. Nor if it asked for the
// same as the bind before did: whatever was made of that since is then made
// again. Nor if it, or anybody, set them since.
func (g *Generation) settleModes() {
	for _, o := range g.offers {
		f := o.held.file
		if f == nil || !o.taken || o.wants == (fileMode{}) {
			continue
		}
		st, err := f.stat()
		if err == nil && !f.replaced && o.wants != f.asked && st.Ctim == o.changed {
			f.set(o.wants)
		}
		f.asked = o.wants
	}
}
