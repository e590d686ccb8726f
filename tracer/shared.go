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

// shareName is called at a bind that no held socket was offered for. It reports
// whether the task was given another process's socket; if not, the bind is to
// be made. kept gives the task what is kept of it, if nobody has it.
func (t *Tracer) shareName(k *task, si syscallInfo, inode uint64, at Name, kept func() bool) bool {
	want, ok := wantedName(k, int(int32(si.Args[0])), at)
	return ok && t.shareSocket(k, si, inode, want, kept)
}

// sharePath is shareName for a path, which is known by where it leads.
func (t *Tracer) sharePath(k *task, si syscallInfo, inode uint64, kind Name, at place, kept func() bool) bool {
	if t.unlinks(k.proc.gen) {
		k.awaitsExit = nil
		t.later(k, bindTick, func() { t.onBind(k, si) })
		return true
	}
	kind.Path = fmt.Sprint(at)
	return t.shareSocket(k, si, inode, kind, kept)
}

func (t *Tracer) shareSocket(k *task, si syscallInfo, inode uint64, want Name, kept func() bool) bool {
	if first := t.binding[want]; first != nil && first != k && t.tasks[first.tid] == first {
		// Two at the same time: the second waits for what becomes of the first.
		k.awaitsExit = nil
		t.later(k, bindTick, func() { t.onBind(k, si) })
		return true
	}
	told := k.awaitsExit
	if h := t.siblings(k.proc.gen, want); h != nil {
		defer h.close()
		k.awaitsExit = nil
		g := k.proc.gen
		if h.file = t.files[h.Inode]; h.file != nil {
			h.file.removed = nil
		}
		err := t.adopt(k, inode, g.offer(h))
		if err == nil || gone(err) {
			return true
		}
		t.tell(Note{Kind: NoteFailedCall, Generation: g, PID: k.proc.pid, Text: fmt.Sprintf("share %s: %v", want, err)})
		return true // it was let go with the bind's own failure
	}
	// Only now: whoever shared it may just have closed it.
	if kept() {
		return true
	}
	t.binding[want] = k
	k.awaitsExit = func(v int64) {
		delete(t.binding, want)
		if v == 0 {
			t.shared[want] = inode
		}
		if told != nil {
			told(v)
		}
	}
	return false
}

// later comes back after a while to a task that stays where it is.
func (t *Tracer) later(k *task, after time.Duration, f func()) {
	time.AfterFunc(after, func() {
		t.Do(func() {
			if t.tasks[k.tid] == k {
				f()
			}
		})
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

// wantedName is the whole name that a bind of descriptor fd asks for, and sets
// SO_REUSEPORT. A duplicate will do: the option is the socket's.
func wantedName(k *task, fd int, at Name) (Name, bool) {
	want, local, ok := asksFor(k, fd, at)
	if !ok {
		return Name{}, false
	}
	defer unix.Close(local)
	if want.Family != unix.AF_UNIX {
		unix.SetsockoptInt(local, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	return want, true
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
