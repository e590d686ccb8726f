package tracer

import (
	"math"
	"strings"

	"golang.org/x/sys/unix"
)

// listening is a listen() on an adopted socket. That listens already, so it could only
// change the backlog, which is for the one that serves to say, and who it is that listens on
// a Unix socket, as SO_PEERCRED tells its clients: so it is made when its generation
// serves, by the process that wanted it.
type listening struct {
	pid, backlog int
	same         bool // the backlog is to stay as it is
}

func isListening(fd int) bool {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && v != 0
}

// listensLater puts a listen() of task k off, and reports whether it did.
func (t *Tracer) listensLater(k *task, inode uint64, backlog int) bool {
	g := k.proc.gen
	o := g.takenOffer(inode)
	if g.settled || o == nil || o.will == nil || !isListening(o.fd()) {
		return false
	}
	o.will.later = &listening{pid: k.proc.pid, backlog: backlog}
	t.skip(k, 0)
	t.resume(k, 0)
	return true
}

// listenNow makes a listen() that was put off.
func (t *Tracer) listenNow(g *Generation, o *offer) {
	later, fd, h := o.will.later, o.fd(), o.held
	o.will.later = nil
	backlog := later.backlog
	if later.same {
		backlog = h.backlog
	}
	if h.Name.Family != unix.AF_UNIX {
		unix.Listen(fd, backlog)
	} else {
		for _, p := range t.having(g, h.Inode, later.pid) {
			if t.listenIn(p, h.Inode, backlog) == nil {
				break
			}
		}
	}
	h.widened = true // from here on it is not the one before's
}

// listenIn makes a process listen on a socket that it has.
func (t *Tracer) listenIn(p *process, inode uint64, backlog int) error {
	num, ok := descriptorOf(p.pid, inode)
	if !ok {
		return errGone
	}
	return t.inject(p, func(i *injection) error {
		_, err := i.call("listen", unix.SYS_LISTEN, uint64(num), uint64(backlog))
		return err
	})
}

// listenAgain sets the backlog of a socket that listens, or shall, and leaves it as
// it is who listens on a Unix socket.
func (t *Tracer) listenAgain(h *Held, backlog int) error {
	if h.Name.Family == unix.AF_UNIX {
		cred, err := unix.GetsockoptUcred(h.FD, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil && t.listenLike(h, *cred, backlog) {
			return nil
		}
	}
	return unix.Listen(h.FD, backlog)
}

// listenLike makes the process with those credentials listen on a Unix socket, if it
// has it and they are its still.
func (t *Tracer) listenLike(h *Held, cred unix.Ucred, backlog int) bool {
	p := t.procs[int(cred.Pid)]
	return p != nil && hasCredentials(p.pid, cred) && t.listenIn(p, h.Inode, backlog) == nil
}

func hasCredentials(pid int, cred unix.Ucred) bool {
	var uid, gid bool
	err := eachStatus(pid, func(name, v string) {
		switch f := strings.Fields(v); {
		case len(f) != 4:
		case name == "Uid":
			uid = parseID(f[1]) == cred.Uid
		case name == "Gid":
			gid = parseID(f[1]) == cred.Gid
		}
	})
	return err == nil && uid && gid
}

// setsIDs reports whether a call may change who a Unix socket's clients see.
func setsIDs(nr int) bool {
	switch nr {
	case unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
		unix.SYS_SETGROUPS, unix.SYS_UNSHARE, unix.SYS_SETNS:
		return true
	}
	return false
}

// listenFirst is for a task that is about to become another user: what it listens on,
// it listens on as the one that it was. It reports whether the task went on.
func (t *Tracer) listenFirst(k *task, si syscallInfo) bool {
	g := k.proc.gen
	if g.settled || !setsIDs(int(si.Nr)) {
		return false
	}
	var due []*offer
	for _, o := range g.offers {
		if w := o.will; w != nil && w.later != nil && w.later.pid == k.proc.pid && o.taken && o.held.Name.Family == unix.AF_UNIX {
			due = append(due, o)
		}
	}
	if len(due) == 0 {
		return false
	}
	i, err := t.injectAtCall(k)
	if i == nil {
		t.resume(k, 0)
		return true
	}
	for _, o := range due {
		num, ok := descriptorOf(k.proc.pid, o.held.Inode)
		if err != nil || !ok {
			continue
		}
		o.held.remember(o.fd())
		backlog := o.will.later.backlog
		if o.will.later.same {
			backlog = o.held.backlog
		}
		if _, e := i.call("listen", unix.SYS_LISTEN, uint64(num), uint64(backlog)); e == nil {
			o.will.later, o.held.widened = nil, true
		}
	}
	v, err := i.make(int(si.Nr), si.Args)
	if err != nil {
		v = -int64(unix.EPERM)
	}
	i.endAtCall(v)
	return true
}

// Widen makes room in the queues of listening sockets on which nobody accepts
// for a while: a program's backlog is for the moments between two of its calls.
// The next generation's listen() sets its own; Mend gives the old one back.
func (t *Tracer) Widen(held []*Held) {
	t.Do(func() {
		for _, h := range held {
			if isListening(h.FD) && t.listenAgain(h, math.MaxUint16) == nil {
				h.widened = true
			}
		}
	})
}
