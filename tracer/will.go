package tracer

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// Options, the owner of SIGIO and the backlog are the socket's or its file's, and
// while a new version is on its way the one before serves on the same: what the
// new one sets would be felt by that at once, and stay if it failed. Some of it nobody
// could take back (a filter can't be read, SO_PEERCRED is that of whoever called listen()
// last, connect(AF_UNSPEC) gives the port up).
//
// So it is the new version's will, which is done once it serves. hupt keeps the socket
// that the program made itself, in whose place it got the held one. What it set before
// its bind is there; what it sets or reads between its bind and its first wait it is made
// to set or read there, with its own rights, and sees what it would have seen bare. At
// the end that is what the held socket is given; what the version before had set and this
// one did not, is as on a new socket.

// will is what a generation wants of a socket that it adopted.
type will struct {
	fd    int        // hupt's, of the program's own socket
	calls []setting  // those that can't be read from it
	bpf   int        // hupt's descriptor of a program that was attached to it (SO_ATTACH_BPF); else -1
	by    int        // the process that set something of its file last
	later *listening // a listen() that is still to be made
}

// setting is a setsockopt.
type setting struct {
	option
	value []byte
}

// makeWill keeps the socket that a task binds, inode, of which its process has the
// descriptors in sockets. It is nil if that can't be had.
func (t *Tracer) makeWill(k *task, inode uint64, sockets []fdtable.FD) *will {
	for _, s := range sockets {
		if s.Inode != inode {
			continue
		}
		fd, err := takeFD(k.proc.pid, s.Num)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil || st.Ino != inode {
			closeDuplicate(fd)
			continue
		}
		w := &will{fd: fd, bpf: -1, by: k.proc.pid}
		if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && isListening(fd) {
			// It listened under another name before (see adoptByRename).
			w.later = &listening{pid: int(cred.Pid), same: true}
		}
		return w
	}
	return nil
}

// drop lets go of what a will, if there is one, keeps.
func (w *will) drop() {
	if w == nil {
		return
	}
	closeDuplicate(w.fd)
	if w.bpf >= 0 {
		unix.Close(w.bpf)
	}
}

// dropWill forgets it.
func (o *offer) dropWill() {
	o.will.drop()
	o.will = nil
}

// dropWills is for a generation that has gone.
func (g *Generation) dropWills() {
	for _, o := range g.offers {
		o.dropWill()
	}
}

// onOwn reports whether a call is about what is the socket's, or its file's, and does
// not depend on where it is bound.
func onOwn(nr int, args [6]uint64) bool {
	request := int(uint32(args[1]))
	o := option{request, int(uint32(args[2]))}
	switch nr {
	case unix.SYS_SETSOCKOPT:
		return isShared[o] || alsoSet[o] || o.replayed() || ofFilter[o] || o == reusePort
	case unix.SYS_GETSOCKOPT:
		return isShared[o] || alsoSet[o] || ofFilter[o] || o == reusePort
	case unix.SYS_FCNTL:
		switch request {
		case unix.F_SETFL, unix.F_GETFL, unix.F_SETOWN, unix.F_GETOWN, unix.F_SETOWN_EX, unix.F_GETOWN_EX,
			unix.F_SETSIG, unix.F_GETSIG, getOwnerUIDs:
			return true
		}
	case unix.SYS_IOCTL:
		switch request {
		case fionbio, fioAsync, fioSetOwn, siocSPgrp, fioGetOwn, siocGPgrp:
			return true
		}
	}
	return false
}

// Of asm-generic/ioctls.h and asm-generic/sockios.h: the same as O_ASYNC, F_SETOWN and
// F_GETOWN.
const (
	fioAsync  = 0x5452
	fioSetOwn = 0x8901
	siocSPgrp = 0x8902
	fioGetOwn = 0x8903
	siocGPgrp = 0x8904

	getOwnerUIDs = 17 // F_GETOWNER_UIDS, asm-generic/fcntl.h
)

var reusePort = option{unix.SOL_SOCKET, unix.SO_REUSEPORT}

// toOwn makes a call of a generation that does not serve yet on the socket that it
// made itself. It reports whether it did.
func (t *Tracer) toOwn(k *task, si syscallInfo) bool {
	nr, args := int(si.Nr), si.Args
	if k.proc.gen.settled || len(k.proc.gen.offers) == 0 || !onOwn(nr, args) {
		return false
	}
	inode, ok := fdtable.SocketInode(k.tid, int(int32(args[0])))
	if !ok {
		return false
	}
	o := k.proc.gen.takenOffer(inode)
	if o == nil || o.will == nil {
		return false
	}
	w := o.will
	var value []byte
	if nr == unix.SYS_SETSOCKOPT {
		value = make([]byte, min(args[4], 512))
		if readMemory(k.tid, args[3], value) != nil {
			value = nil // EFAULT
		}
	}
	i, err := t.injectAtCall(k)
	if i == nil {
		t.resume(k, 0)
		return true
	}
	var v int64
	if err == nil {
		v, err = i.callOn(w.fd, nr, args)
	}
	own := err == nil
	if !own {
		// As before there were wills.
		if v, err = i.make(nr, args); err != nil {
			v = -int64(unix.ENOBUFS)
		}
	}
	if own && v >= 0 {
		w.note(k, nr, args, value)
	}
	if i.endAtCall(v) == nil && own && v >= 0 && nr != unix.SYS_SETSOCKOPT && nr != unix.SYS_GETSOCKOPT {
		if flags, err := unix.FcntlInt(uintptr(w.fd), unix.F_GETFL, 0); err == nil {
			t.wantsFlag(k, o, flags&unix.O_NONBLOCK != 0)
		}
	}
	return true
}

// callOn makes a call of the task's on hupt's descriptor local in place of its own, and
// gives what it returned, -errno included.
func (i *injection) callOn(local, nr int, args [6]uint64) (int64, error) {
	brought, err := i.courier([]int{local})
	if errors.Is(err, unix.EMFILE) {
		lower, ok := raiseNoFile(i.k.proc.pid)
		if !ok {
			return 0, err
		}
		defer lower()
		brought, err = i.courier([]int{local})
	}
	if err != nil {
		return 0, err
	}
	defer i.closeAll(brought)
	args[0] = uint64(brought[0])
	return i.make(nr, args)
}

// note remembers what a call of task k did that can't be read from the socket.
func (w *will) note(k *task, nr int, args [6]uint64, value []byte) {
	if nr != unix.SYS_SETSOCKOPT {
		w.by = k.proc.pid
		return
	}
	const many = 1024
	o := option{int(uint32(args[1])), int(uint32(args[2]))}
	switch {
	case ofFilter[o]:
		if w.bpf >= 0 {
			unix.Close(w.bpf)
			w.bpf = -1
		}
		if o.name == unix.SO_ATTACH_BPF && len(value) >= 4 {
			if fd, err := k.takeFD(int(int32(order.Uint32(value)))); err == nil {
				w.bpf = fd
			}
		}
	case o.replayed() && len(w.calls) < many:
		w.calls = append(w.calls, setting{o, value})
	}
}

// fulfil gives the sockets that g adopted what it wants of them.
func (t *Tracer) fulfil(g *Generation) {
	for _, o := range g.offers {
		w := o.will
		if w == nil || !o.taken || o.fd() < 0 {
			continue
		}
		h, fd := o.held, o.fd()
		h.remember(fd)
		wants := readSettings(w.fd, sharedOptions)
		if h.Name.udp() && t.chosen[h.Name] != nil {
			// One that is bound to another device leaves its group: it would share with the
			// dummy what comes (see unshare).
			h.device = wants[toDevice]
			delete(wants, toDevice)
		}
		wants.apply(fd, sharedOptions)
		filterOf(w.fd, w.bpf).attach(fd, true)
		for _, c := range w.calls {
			// A group that it is in already, since the generation before joined it, is none to leave.
			if setOption(fd, c.option, c.value) == nil && undoneBy[c.option] != 0 {
				h.had.undo = append(h.had.undo, setting{option{c.level, undoneBy[c.option]}, c.value})
			}
		}
	}
}

// fulfilInside does what g must do itself, after which there is no will left.
func (t *Tracer) fulfilInside(g *Generation) {
	defer g.dropWills()
	for _, o := range g.offers {
		w := o.will
		if w == nil || !o.taken || o.fd() < 0 {
			continue
		}
		if w.later != nil {
			t.listenNow(g, o)
		}
		own := t.having(g, o.held.Inode, w.by)
		t.own(o.held.Inode, o.fd(), ownerOf(w.fd), own)
	}
}

// having is the processes of g that have a socket, first the one that is asked for.
func (t *Tracer) having(g *Generation, inode uint64, first int) (out []*process) {
	for pid, p := range g.procs {
		switch {
		case !holds(pid, map[uint64]bool{inode: true}):
		case pid == first:
			out = slices.Insert(out, 0, p)
		default:
			out = append(out, p)
		}
	}
	return out
}

// disconnects reports whether a connect() is to AF_UNSPEC on a socket of streams: a
// listener of the internet gives its port up by that, and its queue.
func (k *task) disconnects(args [6]uint64) bool {
	b := make([]byte, 2)
	if int32(args[2]) < 2 || readMemory(k.tid, args[1], b) != nil || order.Uint16(b) != unix.AF_UNSPEC {
		return false
	}
	fd, err := k.takeFD(int(int32(args[0])))
	if err != nil {
		return false
	}
	defer closeDuplicate(fd)
	n, err := kindOf(fd)
	return err == nil && n.Type == unix.SOCK_STREAM && n.Family != unix.AF_UNIX
}
