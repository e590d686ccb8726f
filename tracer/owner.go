package tracer

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// owner is who gets the signal of a file's O_ASYNC, and which (fcntl(2)).
type owner struct {
	kind, pid int32 // struct f_owner_ex
	signal    int
	async     bool
}

const ownerProcess = 1 // F_OWNER_PID

func ownerOf(fd int) (w owner) {
	var ex [2]int32
	if _, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETOWN_EX, uintptr(unsafe.Pointer(&ex[0]))); e == 0 && ex[1] != 0 {
		w.kind, w.pid = ex[0], ex[1]
	}
	w.signal, _ = unix.FcntlInt(uintptr(fd), unix.F_GETSIG, 0)
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	w.async = err == nil && flags&unix.O_ASYNC != 0
	return w
}

// own makes the owner of socket inode, of which hupt has descriptor fd, be want. Whom
// it may signal goes by the rights of who sets it, and the signal tells the number of
// the descriptor by which O_ASYNC was set: so one of the processes sets both.
func (t *Tracer) own(inode uint64, fd int, want owner, among []*process) {
	if ownerOf(fd) == want {
		return
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return
	}
	flags &^= unix.O_ASYNC
	if want.pid == 0 {
		unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
		unix.FcntlInt(uintptr(fd), unix.F_SETOWN, 0)
		unix.FcntlInt(uintptr(fd), unix.F_SETSIG, want.signal)
		if want.async {
			unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_ASYNC)
		}
		return
	}
	for _, p := range among {
		num, ok := descriptorOf(p.pid, inode)
		if !ok || !sameNamespace(p.pid, "pid") { // hupt knows its own numbers only
			continue
		}
		if t.inject(p, func(i *injection) error { return i.own(num, fd, flags, want) }) == nil {
			return
		}
	}
}

func (i *injection) own(num, local, flags int, want owner) error {
	set := func(command int, v uint64) error {
		_, err := i.call("fcntl", unix.SYS_FCNTL, uint64(num), uint64(command), v)
		return err
	}
	ex := order.AppendUint32(order.AppendUint32(nil, uint32(want.kind)), uint32(want.pid))
	addr, err := i.put(atData, ex)
	if err != nil {
		return err
	}
	// Off first: on is nothing new to one that is on, and keeps its number.
	if err := set(unix.F_SETFL, uint64(flags)); err != nil {
		return err
	}
	if err := set(unix.F_SETOWN_EX, addr); err != nil {
		return err
	}
	if err := set(unix.F_SETSIG, uint64(want.signal)); err != nil || !want.async {
		return err
	}
	if err := set(unix.F_SETFL, uint64(flags|unix.O_ASYNC)); err != nil {
		return err
	}
	if readable(local) && want.kind == ownerProcess && int(want.pid) == i.k.proc.pid {
		// What came before that nobody tells it of.
		i.raise(want.signal, num)
	}
	return nil
}

// silence keeps signals from a generation that was quiesced on the held sockets: what comes
// in is not for it, and not for a program that its process is to execute, which may not be
// ready for them. Mend gives them back.
func (t *Tracer) silence(g *Generation, held []*Held) {
	for _, h := range held {
		if h.FD < 0 || g.dummies[h.Inode] == nil {
			continue
		}
		k := t.tasks[int(ownerOf(h.FD).pid)]
		if k == nil || k.proc.gen != g { // nobody's, or another one's who serves on it, too
			continue
		}
		h.remember(h.FD)
		t.own(h.Inode, h.FD, owner{}, nil)
	}
}

// raise sends the process the signal that something waits at its descriptor.
func (i *injection) raise(signal, num int) {
	const pollIn, kernel, band = 1, 0x80, unix.POLLIN | pollRDNorm // POLL_IN and SI_KERNEL, sigaction(2)
	info := make([]byte, 128)                                      // siginfo_t
	if signal == 0 {
		signal = int(unix.SIGIO)
		order.PutUint32(info[8:], kernel)
	} else {
		order.PutUint32(info[8:], pollIn)
		order.PutUint64(info[16:], band)
		order.PutUint32(info[24:], uint32(num))
	}
	order.PutUint32(info, uint32(signal))
	if addr, err := i.put(atControl, info); err == nil {
		i.call("rt_sigqueueinfo", unix.SYS_RT_SIGQUEUEINFO, uint64(i.k.proc.pid), uint64(signal), addr)
	}
}

// descriptorOf is a descriptor by which a process has a socket.
func descriptorOf(pid int, inode uint64) (fd int, ok bool) {
	sockets, err := fdtable.Sockets(pid)
	if err != nil {
		return -1, false
	}
	for num, i := range sockets {
		if i == inode && (!ok || num < fd) {
			fd, ok = num, true
		}
	}
	return fd, ok
}
