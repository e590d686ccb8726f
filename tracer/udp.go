package tracer

import (
	"fmt"
	"maps"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/reuseport"
)

// A datagram socket has no connections: what a generation received, it must be
// able to answer after it was quiesced, from the address that it was asked at.
// So its dummy is a socket of that very address. The two make an SO_REUSEPORT
// group, which is steered to the real one, as is any other (steer.go).
//
// What the kernel had queued is the new generation's, since the queue is the
// socket's. Between the instant in which the dummy is bound and that in which the group
// is steered, a few datagrams may come to the dummy: the old generation
// answers them.

// maxBound bounds what is remembered of binds.
const maxBound = 4096

// asked remembers that the program asked for the address of an internet socket.
// A datagram socket that it did not ask for is a client's.
func (t *Tracer) asked(inode uint64) {
	if len(t.bound) >= maxBound {
		live := make(map[uint64]bool)
		sockets, err := fdtable.DumpUDP(fdtable.Datagrams, 0)
		for _, s := range sockets {
			live[s.Inode] = true
		}
		for i := range t.bound {
			if err == nil && !live[i] {
				delete(t.bound, i)
			}
		}
	}
	if len(t.bound) < 2*maxBound {
		t.bound[inode] = true
	}
}

// isDatagram reports whether descriptor fd of task k is a datagram socket.
func isDatagram(k *task, fd int) bool {
	local, err := k.takeFD(fd)
	if err != nil {
		return false
	}
	defer closeDuplicate(local)
	v, err := unix.GetsockoptInt(local, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && v == unix.SOCK_DGRAM
}

// servers adds the datagram sockets of hupt's network namespace that may be a
// server's to those that listen: bound because somebody asked, and without a
// peer.
func (t *Tracer) servers(isListening map[uint64]bool) error {
	sockets, err := fdtable.DumpUDP(fdtable.Datagrams, 0)
	if err != nil {
		return err
	}
	inherited := make(map[uint64]bool)
	if own, err := fdtable.Sockets(os.Getpid()); err == nil {
		for _, inode := range own {
			inherited[inode] = true // LISTEN_FDS: nobody binds them
		}
	}
	live := make(map[uint64]bool)
	for _, s := range sockets {
		live[s.Inode] = true
		if inherited[s.Inode] {
			t.bound[s.Inode] = true
		}
		isListening[s.Inode] = s.Receives() && t.bound[s.Inode]
	}
	for inode := range t.bound {
		if t.lost(inode, live[inode]) {
			delete(t.bound, inode)
		}
	}
	return nil
}

// datagramDummy makes the dummy of an internet datagram socket. It is nil if
// there can be none, if hupt may not bind the port, say: the generations then
// share what comes until g has gone.
func (t *Tracer) datagramDummy(g *Generation, h *Held) *dummy {
	if h.shared {
		return nil
	}
	d, err := t.newDatagramDummy(h)
	if err != nil {
		h.shared = true
		t.tell(Note{Kind: NoteWarning, Generation: g,
			Text: fmt.Sprintf("it goes on receiving datagrams on %s until it ends: %v", h.Name, err)})
		return nil
	}
	return d
}

func (t *Tracer) newDatagramDummy(h *Held) (*dummy, error) {
	flags, err := unix.FcntlInt(uintptr(h.FD), unix.F_GETFL, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl(F_GETFL)", err)
	}
	d := &dummy{kind: h.Name.Type, held: h, of: h, nonBlock: flags&unix.O_NONBLOCK != 0}
	kind := unix.SOCK_DGRAM | unix.SOCK_CLOEXEC
	if d.nonBlock {
		kind |= unix.SOCK_NONBLOCK
	}
	if d.fd, err = unix.Socket(h.Name.Family, kind, 0); err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := t.bindBeside(h, d); err != nil {
		t.partDummies([]*dummy{d})
		return nil, fmt.Errorf("make a dummy for %s: %w", h.Name, err)
	}
	return d, nil
}

// bindBeside binds d to the address of h, and steers what comes to h.
func (t *Tracer) bindBeside(h *Held, d *dummy) error {
	var st, own unix.Stat_t
	if err := unix.Fstat(h.FD, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if err := unix.Fstat(d.fd, &own); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	d.inode = own.Ino
	if own.Uid != st.Uid { // a group is of one user
		if err := unix.Fchown(d.fd, int(st.Uid), int(st.Gid)); err != nil {
			return os.NewSyscallError("fchown", err)
		}
	}
	readSettings(h.FD, bindOptions).apply(d.fd, bindOptions)
	readSettings(h.FD, datagramOptions).apply(d.fd, datagramOptions)
	// It is in no multicast group, and must not hear what others joined.
	unix.SetsockoptInt(d.fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
	unix.SetsockoptInt(d.fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
	if !shares(h.FD) {
		t.lent[h.Inode] = true
		if err := unix.SetsockoptInt(h.FD, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return os.NewSyscallError("setsockopt(SO_REUSEPORT)", err)
		}
	}
	if err := unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return os.NewSyscallError("setsockopt(SO_REUSEPORT)", err)
	}
	sa, err := unix.Getsockname(h.FD)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if err := unix.Bind(d.fd, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	beside := &Held{FD: d.fd, Inode: d.inode, Name: h.Name}
	t.shunned[d.inode] = beside
	if t.chosen[h.Name] == nil { // else it is left out already
		if err := t.steer(h.Name); err != nil {
			return err
		}
		// One that another processor is delivering was given to the dummy before
		// that, and must not find it deaf.
		awaitGracePeriod()
	}
	// A broadcast goes to every socket, whatever the group chooses.
	beside.deaf = reuseport.Deafen(d.fd) == nil
	return nil
}

// partDummies closes those of the dummies that are datagram sockets, which have
// a place in a group.
func (t *Tracer) partDummies(dummies []*dummy) {
	of := make(map[Name]*Held)
	going := make(map[uint64]*Held)
	for _, d := range dummies {
		of[d.of.Name] = d.of
		if beside := t.shunned[d.inode]; beside != nil {
			going[d.inode] = beside
		} else { // it came into no group
			unix.Close(d.fd)
		}
	}
	for n, h := range of {
		if t.chosen[n] != nil {
			// If it can't be found out which is where, they are closed all the same.
			_ = t.partEach(n, func(h *Held) bool { return going[h.Inode] == h }, func(*Held) bool { return false })
		}
		for _, beside := range going {
			if beside.Name == n && beside.FD >= 0 {
				t.partOne(beside)
			}
		}
		t.unshare(h)
	}
}

// unshare leaves the choice in the group of h to the kernel if nothing is shunned
// any more, and what shared its address with a dummy only, to itself.
func (t *Tracer) unshare(h *Held) {
	for _, s := range t.shunned {
		if s.Name == h.Name {
			t.steer(h.Name)
			return
		}
	}
	delete(t.chosen, h.Name)
	if h.FD < 0 {
		return
	}
	reuseport.Release(h.FD)
	for _, m := range append(t.group(h.Name), h) {
		if m.FD >= 0 && t.lent[m.Inode] {
			unix.SetsockoptInt(m.FD, unix.SOL_SOCKET, unix.SO_REUSEPORT, 0)
			delete(t.lent, m.Inode)
		}
	}
	if h.device != nil {
		settings{toDevice: h.device}.apply(h.FD, []option{toDevice})
		h.device = nil
	}
}

// Bound is the inodes of the internet sockets that the program bound; of
// listening ones, not all.
func (t *Tracer) Bound() (out map[uint64]bool) {
	t.Do(func() { out = maps.Clone(t.bound) })
	return out
}

// Unread reports whether some datagram that came to a quiesced generation has
// not been read by it.
func (t *Tracer) Unread(g *Generation) (unread bool) {
	t.Do(func() {
		for _, d := range g.dummies {
			h := Held{FD: d.fd}
			unread = unread || d.of != nil && h.waits()
		}
	})
	return unread
}

// Answers reports whether a quiesced generation has datagram sockets, from which
// it may be about to answer, and when it last did: zero if it did not, or if it
// answers from UDP sockets, which nobody watches.
func (t *Tracer) Answers(g *Generation) (answers bool, last time.Time) {
	t.Do(func() {
		for _, d := range g.dummies {
			answers = answers || d.kind == unix.SOCK_DGRAM
		}
		last = g.answered
	})
	return answers, last
}

// onBindDatagram: a generation that does not serve yet is about to bind a
// datagram socket to an address of which nothing is held.
func (t *Tracer) onBindDatagram(k *task, fd int, inode uint64, at Name) {
	g := k.proc.gen
	if at.Address.Port() == 0 {
		return
	}
	if len(g.offers) > 0 {
		t.joins(k, fd, inode, at)
		return
	}
	// The first one serves once it waits on all that it binds.
	if !g.listening[inode] {
		g.listening[inode] = true
		t.noteOther(k, inode)
		t.watch(g)
		t.tell(Note{Kind: NoteProgress, Generation: g, Progress: g.progress()})
	}
}

// joinsMulticast: task k is about to set a socket option. If it joins a
// multicast group of which an adopted socket is a member already, since the
// generation before joined it, that is no error.
func (t *Tracer) joinsMulticast(k *task, args [6]uint64) {
	const joinGroup = 42 // MCAST_JOIN_GROUP, of both levels
	switch [2]uint64{args[1], args[2]} {
	case [2]uint64{unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP}, [2]uint64{unix.IPPROTO_IP, joinGroup},
		[2]uint64{unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP}, [2]uint64{unix.IPPROTO_IPV6, joinGroup}:
	default:
		return
	}
	inode, ok := fdtable.SocketInode(k.tid, int(int32(args[0])))
	if !ok || k.proc.gen.takenOffer(inode) == nil {
		return
	}
	k.awaitsExit = func(v int64) {
		if v != -int64(unix.EADDRINUSE) {
			return
		}
		if r, err := getRegisters(k.tid); err == nil {
			setResult(&r, 0)
			setRegisters(k.tid, r)
		}
	}
}
