package tracer

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/seccomp"
)

// A datagram socket has no connections that could be told apart: what a
// quiesced generation received, it answers on the socket itself. Its descriptor
// is a dummy by then, so that it receives no more; an answer sent on that would
// come from a stranger, and a client that has connected its socket would not
// get it. So what a quiesced generation sends on a dummy, it is made to send on
// the held socket.

// traceAnswers makes the process stop at sends on the datagram sockets that are
// about to be swapped for dummies.
func (i *injection) traceAnswers(table fdtable.Table, swap map[uint64]int) error {
	var fds []int
	for _, s := range table.Sockets {
		d := i.k.proc.gen.dummies[s.Inode]
		if d != nil && d.kind == unix.SOCK_DGRAM && d.of == nil && swap[s.Inode] == d.fd {
			if !slices.Contains(i.k.proc.sendsOn, s.Num) {
				fds = append(fds, s.Num)
			}
		}
	}
	if len(fds) == 0 {
		return nil
	}
	err := i.addFilter(seccomp.Sends(auditArch, fds))
	if err == nil {
		i.k.proc.sendsOn = append(i.k.proc.sendsOn, fds...)
	}
	return err
}

// sendAgain is how long a blocking send waits before it is tried again, when
// the one to whom it goes has no room.
const sendAgain = 5 * time.Millisecond

// answer makes a send on a dummy one on the held socket. It reports false if the
// call is to be made as it stands.
func (t *Tracer) answer(k *task, si syscallInfo) bool {
	nr, fd := int(si.Nr), int(int32(si.Args[0]))
	flags, ok := sendFlags(nr)
	if !ok || !k.proc.gen.quiesced {
		return false
	}
	d := k.proc.gen.dummyAt(k.tid, fd)
	if d == nil || d.held.FD < 0 {
		return false
	}
	k.proc.gen.answered = time.Now()
	// The tracer must not wait for whoever is to receive it, so the call does not
	// block. If the program wants to, it makes its call again a little later.
	blocks := !d.nonBlock && si.Args[flags]&unix.MSG_DONTWAIT == 0
	args := si.Args
	args[flags] |= unix.MSG_DONTWAIT
	i, err := t.injectAtCall(k)
	if i == nil {
		t.resume(k, 0)
		return true
	}
	if err != nil {
		i.endAtCall(-int64(unix.ENOBUFS))
		return true
	}
	v, err := i.sendOn(d.held.FD, nr, args)
	var errno unix.Errno
	switch {
	case gone(err) && !errors.As(err, &errno):
	case err == nil:
		i.endAtCall(v)
	case !errors.As(err, &errno):
		i.endAtCall(-int64(unix.ENOBUFS))
	case errno == unix.EAGAIN && blocks:
		i.endAgain(sendAgain)
	default:
		i.endAtCall(-int64(errno))
	}
	return true
}

// sendOn makes a call of the task's on hupt's descriptor local in place of the
// one it was meant for.
func (i *injection) sendOn(local, nr int, args [6]uint64) (int64, error) {
	brought, err := i.courier([]int{local})
	if err != nil {
		return 0, err
	}
	defer i.closeAll(brought)
	args[0] = uint64(brought[0])
	return i.call("send", nr, args[:]...)
}

// endAgain lets the task make its call again after a while. Signals are
// delivered meanwhile as to a task that does not sleep.
func (i *injection) endAgain(after time.Duration) {
	i.unmapScratch()
	if i.stuck {
		i.leave(func() { i.endAgain(after) })
		return
	}
	r := i.saved
	callAgain(&r)
	if setRegisters(i.k.tid, r) != nil {
		return
	}
	i.restoreFilters()
	setSigmask(i.k.tid, i.mask)
	if i.stopped {
		interrupt(i.k.tid)
	}
	k, t := i.k, i.t
	if k.proc.frozen {
		t.resume(k, 0) // its timer would wait for what freezes the process
		return
	}
	t.park(k, after) // it stands at an exit already: to free it is to resume it
}

// dummyAt is the dummy that descriptor fd of task tid is.
func (g *Generation) dummyAt(tid, fd int) *dummy {
	inode, ok := fdtable.SocketInode(tid, fd)
	if !ok {
		return nil
	}
	for _, d := range g.dummies {
		if d.inode == inode {
			return d
		}
	}
	return nil
}

// onBindGather: task k is about to bind a Unix socket, inode. If it takes datagrams,
// whether somebody waits on it tells a server's from one that is only ever sent
// from. A look would tell only what is so at that moment, and a server that is at work
// does not wait; so the generation is watched until it does.
func (t *Tracer) onBindGather(k *task, fd int, inode uint64) {
	g := k.proc.gen
	if g.settled || len(g.gathers) >= maxBound || !isDatagram(k, fd) {
		return
	}
	k.alsoAwaitExit(func(v int64) {
		if _, known := g.gathers[inode]; v == 0 && !known && !g.settled {
			g.gathers[inode] = false
			t.watch(g)
		}
	})
}

// isAwaited reports whether a Unix datagram socket of g is a server's: some task waited
// on it when it began, or waits on it now, or somebody else connected his socket
// to it, or what came to it is still to be read. s is what the kernel's table says of it,
// if it is there.
func (t *Tracer) isAwaited(g *Generation, s fdtable.Socket, inode uint64) bool {
	// The kernel makes both ends established at a connect() (unix_dgram_connect).
	connected := s.State == fdtable.StateEstablished && s.Peer == 0
	return g.gathers[inode] || g.waiting[inode] || connected || s.Unread > 0 || t.awaited(g, inode)
}

// awaited reports whether some task of g waits for what comes to a datagram
// socket, or has it in an epoll set, at this moment.
func (t *Tracer) awaited(g *Generation, inode uint64) bool {
	for pid, p := range g.procs {
		table, err := fdtable.Read(pid, func(i uint64) bool { return i == inode })
		if err != nil || len(table.Sockets) == 0 {
			continue
		}
		for _, e := range table.Epolls {
			for _, r := range e.Entries {
				if r.Inode == inode {
					return true
				}
			}
		}
		for tid, k := range p.tasks {
			nr, args, ok := currentCall(pid, tid)
			if kind := waitCall(nr); ok && kind != waitNone && k.waitsOn(kind, args)[inode] {
				return true
			}
		}
	}
	return false
}
