package tracer

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// Several processes of one program on one port (Options.ReusePort): whoever
// binds second gets the socket of whoever was first. With one queue for all of
// them nobody's connections are lost when one ends, which is what a group of
// SO_REUSEPORT sockets can't promise; and no program knows that it shares.
//
// The option is set all the same, before a bind that is made: another hupt may
// have processes on that port, too.

// bindTick is how often a bind looks whether another one is over, which takes
// some microseconds.
const bindTick = time.Millisecond

// sharedName is the whole name that a bind of descriptor fd asks for, if it may
// be shared, and sets SO_REUSEPORT. A duplicate will do: the option is the
// socket's.
func (t *Tracer) sharedName(k *task, fd int, at Name) (Name, bool) {
	if !t.reusePort {
		return Name{}, false
	}
	want, local, ok := asksFor(k, fd, at)
	if !ok {
		return Name{}, false
	}
	defer closeDuplicate(local)
	if want.Family != unix.AF_UNIX {
		unix.SetsockoptInt(local, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	return want, true
}

// sharedPath is sharedName for a path, which is known by where it leads.
func sharedPath(kind Name, at place) Name {
	kind.Path = fmt.Sprint(at)
	return kind
}

// shareSocket is called at a bind that no held socket was offered for. It reports
// whether the task was given another process's socket, or waits to see whether
// it will be; if not, the bind is to be made.
func (t *Tracer) shareSocket(k *task, si syscallInfo, inode uint64, want Name) bool {
	if first := t.binding[want]; first != nil && first != k && t.tasks[first.tid] == first {
		// Two at the same time: the second waits for what becomes of the first.
		t.later(k, bindTick, func() { t.onBind(k, si) })
		return true
	}
	g := k.proc.gen
	h := t.siblings(g, want)
	if h == nil {
		return false
	}
	defer h.close()
	if !t.mayShare(k, int(int32(si.Args[0])), h) {
		return false
	}
	if h.file = t.files[h.Inode]; h.file != nil {
		h.file.removed = nil
	}
	o := g.offer(h)
	o.common = true
	if !g.settled {
		o.keep() // till then its flag may be of interest, and h is closed here
	}
	t.handOver(k, inode, o)
	return true
}

// noteBinding makes others that bind the same name wait until k's bind of it,
// which is about to be made, is over. really asks whether it was to that name.
func (t *Tracer) noteBinding(k *task, inode uint64, name Name, really func() bool) {
	t.binding[name] = k
	k.alsoAwaitExit(func(v int64) {
		delete(t.binding, name)
		if v == 0 && really() {
			t.shared[name] = inode
		}
	})
}

// waitsForUnlink makes task k's bind to a path wait while another one takes a
// path away.
func (t *Tracer) waitsForUnlink(k *task, si syscallInfo) bool {
	if !t.unlinks(k.proc.gen) {
		return false
	}
	t.later(k, bindTick, func() { t.onBind(k, si) })
	return true
}

// later comes back after a while to a task that stays where it is.
func (t *Tracer) later(k *task, after time.Duration, f func()) {
	t.after(after, func() {
		if t.tasks[k.tid] == k {
			f()
		}
	})
}

// binds reports whether a task of another generation is in the middle of a bind
// that others may share: until it is over, nobody knows of the path.
func (t *Tracer) binds(g *Generation) bool {
	for _, k := range t.binding {
		if k.proc.gen != g && t.tasks[k.tid] == k {
			return true
		}
	}
	return false
}

// unlinks reports whether a task of another generation is in the middle of a
// call that was found to take away nothing that anybody needs. It may, by the
// time that it is made, if somebody binds meanwhile.
func (t *Tracer) unlinks(g *Generation) bool {
	for k := range t.unlinking {
		if t.tasks[k.tid] != k {
			delete(t.unlinking, k)
		} else if k.proc.gen != g {
			return true
		}
	}
	return false
}

// noteUnlink remembers that k is about to make such a call.
func (t *Tracer) noteUnlink(k *task) {
	if t.reusePort {
		t.unlinking[k] = true
		k.awaitsExit = func(int64) { delete(t.unlinking, k) }
	}
}

// siblings takes the socket of that name from a generation of another branch.
func (t *Tracer) siblings(g *Generation, want Name) *Held {
	inode, ok := t.shared[want]
	if !ok {
		return nil
	}
	for _, other := range t.generations {
		if other.notes == g.notes {
			continue
		}
		for pid := range other.procs {
			sockets, err := fdtable.Sockets(pid)
			if err != nil {
				continue
			}
			for fd, i := range sockets {
				if i != inode {
					continue
				}
				if h, err := hold(pid, fd, inode); err == nil {
					h.backlog = unix.SOMAXCONN
					return h
				}
			}
		}
	}
	return nil
}

// dropShared unlinks the paths that those who shared them wanted to be gone,
// each while another one lived, once none does. g has ended.
func (t *Tracer) dropShared(g *Generation) {
	if !t.reusePort {
		return
	}
	for inode, f := range t.files {
		if f.removed != nil && !t.neededBeside(g, inode) {
			f.unlink()
			delete(t.files, inode)
		}
	}
}
