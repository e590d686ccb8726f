package tracer

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// onBind: a bind is about to be made. If its address is that of a held socket
// that is still to be had, the program gets that one; otherwise the bind runs
// as it stands.
func (t *Tracer) onBind(k *task, si syscallInfo) {
	fd := int(int32(si.Args[0]))
	length := int(int32(si.Args[2]))
	b := make([]byte, max(0, min(length, sockaddrMax)))
	if readMemory(k.tid, si.Args[1], b) != nil {
		t.resume(k, 0) // the kernel will give EFAULT
		return
	}
	want, ok := parseBind(b, length)
	if !ok {
		t.resume(k, 0)
		return
	}
	inode, ok := fdtable.SocketInode(k.tid, fd)
	if !ok {
		t.resume(k, 0) // EBADF or ENOTSOCK
		return
	}
	if want.hasFile() {
		t.onBindPath(k, si, inode, want)
		return
	}
	datagram := want.Family != unix.AF_UNIX && !k.proc.gen.settled && isDatagram(k, fd)
	if want.Family != unix.AF_UNIX {
		t.asked(inode)
	}
	// Port 0 is asked for by clients, too: who listens is known at listen(). Of
	// datagram sockets, those that a generation binds before it serves are its
	// server's.
	if datagram && want.Address.Port() == 0 {
		t.portZero[inode] = true
	} else if want.Family != unix.AF_UNIX && want.Address.Port() == 0 {
		t.boundZero(inode, want.Address)
		t.watchBind(k, want)
		t.resume(k, 0)
		return
	}
	take := func(o *offer) bool {
		if o == nil {
			return false
		}
		t.handOver(k, inode, o)
		return true
	}
	if take(t.offerFor(k, fd, want)) {
		return
	}
	name, shares := t.sharedName(k, fd, want)
	if shares && t.shareSocket(k, si, inode, name) {
		return
	}
	if t.hasBack(k, fd, inode, want) {
		return
	}
	// Only now: whoever shared it may just have closed it.
	orphans, whole := t.orphansOf(k, fd, want)
	if take(t.keptFor(k, fd, orphans, whole)) {
		return
	}
	if datagram {
		t.onBindDatagram(k, fd, inode, want)
	}
	fails := want
	if datagram {
		fails.Type = unix.SOCK_DGRAM
	}
	t.watchBind(k, fails)
	if shares {
		t.noteBinding(k, inode, name, func() bool { return k.isBoundTo(fd, inode, want) })
	}
	if want.Family == unix.AF_UNIX {
		t.onBindGather(k, fd, inode)
	}
	t.letBind(k, fd, orphans, whole)
	if want.Family != unix.AF_UNIX {
		t.opens(k, fd)
	}
	t.resume(k, 0)
}

// isBoundTo asks the kernel whether the socket, inode, which task k bound is at that
// address: another thread may have changed what hupt read of it.
func (k *task) isBoundTo(fd int, inode uint64, at Name) bool {
	local, err := k.takeFD(fd)
	if err != nil {
		return false
	}
	defer closeDuplicate(local)
	var st unix.Stat_t
	have, err := nameOf(local)
	return err == nil && unix.Fstat(local, &st) == nil && st.Ino == inode && have.Address == at.Address && have.Path == at.Path
}

// handOver is adopt, and tells what kept it from being done. The task was then
// let go with the bind's own failure.
func (t *Tracer) handOver(k *task, inode uint64, o *offer) {
	if err := t.adopt(k, inode, o); err != nil && !gone(err) {
		t.tell(Note{Kind: NoteFailedCall, Generation: k.proc.gen, PID: k.proc.pid,
			Text: fmt.Sprintf("hand %s over: %v", o.held.Name, err)})
	}
}

// boundZero remembers that a socket's bind asked for port 0, until it listens.
// Most never do: clients bind so, too, and their sockets must not pile up here.
func (t *Tracer) boundZero(inode uint64, addr netip.AddrPort) {
	const limit = 1024
	if len(t.zeroBinds) >= limit {
		clear(t.zeroBinds)
	}
	t.zeroBinds[inode] = addr
}

// watchResult tells the supervisor if the call that k is about to make fails,
// while its generation is still to prove itself.
func (t *Tracer) watchResult(k *task, call string) { t.watchCall(k, call, Name{}) }

// watchBind is watchResult for a bind to an address.
func (t *Tracer) watchBind(k *task, at Name) { t.watchCall(k, "bind "+at.Text(), at) }

func (t *Tracer) watchCall(k *task, call string, at Name) {
	g := k.proc.gen
	if g.settled {
		return
	}
	k.awaitsExit = func(v int64) {
		if v < 0 && v > -4096 {
			t.tell(Note{Kind: NoteFailedCall, Generation: g, PID: k.proc.pid, Name: at, Errno: unix.Errno(-v),
				Text: fmt.Sprintf("%s: %s", call, unix.Errno(-v).Error())})
		}
	}
}

// offerFor finds what a bind of fd to the address of at is to get. Held sockets of one name
// (SO_REUSEPORT) are had in order, and a bind to port 0 gets the next of those
// that were bound so.
func (t *Tracer) offerFor(k *task, fd int, at Name) *offer {
	g := k.proc.gen
	open := slices.ContainsFunc(g.offers, func(o *offer) bool { return o.held.FD >= 0 })
	if !open || !handed(at.Family) {
		return nil
	}
	want, local, ok := asksFor(k, fd, at)
	if !ok {
		return nil
	}
	closeDuplicate(local)
	for _, o := range g.offers {
		if !o.taken && o.held.matches(want) && t.mayHave(k, fd, o.held) {
			return o
		}
	}
	// A program that closed what it adopted and binds it anew, as some do when
	// they read their configuration again, finds the port busy: hupt holds it.
	for _, o := range g.offers {
		if o.taken && o.held.matches(want) && !g.has(o.held.Inode) && t.mayHave(k, fd, o.held) {
			return o
		}
	}
	return nil
}

// asksFor is the whole name that task k's bind of descriptor fd to the address of at asks
// for. local is a duplicate of the descriptor, for the caller to close. It is not ok
// for a socket in whose place another can't be put.
func asksFor(k *task, fd int, at Name) (want Name, local int, ok bool) {
	local, err := k.takeFD(fd)
	if err != nil {
		return Name{}, -1, false
	}
	want, err = kindOf(local)
	// One that is about to listen was bound to a port that the kernel chose.
	free := isFree(local) || at.Address.Port() == 0 && at.Family != unix.AF_UNIX && !isConnected(local)
	if err != nil || want.Family != at.Family || !free {
		closeDuplicate(local)
		return Name{}, -1, false
	}
	want.Address, want.Path = at.Address, at.Path
	return want, local, true
}

func (h *Held) matches(want Name) bool {
	if h.FD < 0 {
		return false // closed: the generation that it came from has gone
	}
	have := h.Name
	if want.Family == unix.AF_UNIX {
		return have == want // an abstract one: see adoptable for paths
	}
	if want.Address.Port() == 0 {
		if !h.PortZero {
			return false
		}
		have.Address = netip.AddrPortFrom(have.Address.Addr(), 0)
	}
	if !want.Address.Addr().IsUnspecified() {
		// The kernel makes a socket V6ONLY when it is bound to any other address
		// (__inet6_bind), so the one that is not bound yet says nothing.
		have.V6Only = want.V6Only
	}
	return have == want
}

// has reports whether some process of g has the socket open.
func (g *Generation) has(inode uint64) bool {
	for pid := range g.procs {
		sockets, err := fdtable.Sockets(pid)
		if err != nil {
			continue
		}
		for _, i := range sockets {
			if i == inode {
				return true
			}
		}
	}
	return false
}

// adopt turns the bind that k is about to make into a dup3 of the held socket
// over the one that it meant to bind, inode, and makes it succeed.
//
// What it meant to bind may be known by other numbers and in epoll sets already
// (Boost.Asio and Netty register before they bind), and to other processes (a
// child may bind for its parent): it is swapped wherever the generation has it.
func (t *Tracer) adopt(k *task, inode uint64, o *offer) error {
	g := k.proc.gen
	table, err := t.tableOf(k, inode)
	if err != nil {
		return err
	}
	w := t.makeWill(k, inode, table.Sockets)
	if o.common {
		w.drop()
		w = nil
	}
	i, err := t.putAtCall(k, inode, table, o.held.FD)
	if err != nil {
		w.drop()
		return err
	}
	o.dropWill()
	o.closed = false
	o.taken, o.held.adopted, o.held.last, o.will = true, true, time.Now(), w
	t.wantsFlag(k, o, slices.ContainsFunc(table.Sockets, func(s fdtable.FD) bool { return s.NonBlock }))
	delete(g.listening, inode) // at a rename, it may have listened already
	delete(g.waiting, inode)
	t.portZero[o.held.Inode] = o.held.PortZero
	// It listens already, and a program that asks (SO_ACCEPTCONN, as HAProxy
	// does) need not call listen(). One that serves has nothing to prove.
	switch {
	case g.settled:
	case o.held.idle || !o.held.counts() || o.held.Name.udp():
		g.inherited[o.held.Inode] = true // it need not be waited on
		t.watch(g)
	default:
		g.listening[o.held.Inode] = true
		t.noteOther(k, o.held.Inode)
		t.watch(g)
	}
	if err := i.endAtCall(0); err != nil {
		return err
	}
	_, err = t.swap(g, map[uint64]int{inode: o.held.FD})
	t.quiesceLate(g, o.held)
	if g.settled {
		t.fulfil(g)
		t.fulfilInside(g)
	}
	t.wanted(o.held)
	name := o.held.Name
	if f := o.held.file; f != nil {
		name.Path = f.path()
	}
	t.tell(Note{Kind: NoteAdopted, Generation: g, PID: k.proc.pid, Name: name, Progress: g.progress()})
	return err
}

// tableOf is where the process of task k, which stands at a call, has socket inode. If
// that can't be told, the call is made as it stands.
func (t *Tracer) tableOf(k *task, inode uint64) (fdtable.Table, error) {
	table, err := fdtable.Read(k.proc.pid, func(i uint64) bool { return i == inode })
	if err != nil {
		t.resume(k, 0)
	}
	return table, err
}

// putAtCall puts hupt's descriptor local in place of socket inode in the process of
// task k, which stands at a call. If that fails, the call was ended as a bind whose
// address is in use.
func (t *Tracer) putAtCall(k *task, inode uint64, table fdtable.Table, local int) (*injection, error) {
	i, err := t.injectAtCall(k)
	if err == nil {
		err = i.carryOut(fdtable.Plan(table, map[uint64]bool{inode: true}), map[uint64]int{inode: local})
	}
	if i == nil {
		t.resume(k, 0) // the bind will say itself that the port is taken
		return nil, err
	}
	if err != nil {
		i.endAtCall(-int64(unix.EADDRINUSE))
		return nil, err
	}
	return i, nil
}

// quiesceLate makes generations that are quiesced already let go of a socket that
// g adopted only now.
func (t *Tracer) quiesceLate(g *Generation, h *Held) {
	for _, old := range t.generations {
		if old != g && old.quiesced && old.dummies[h.Inode] == nil {
			t.quiesce(old, []*Held{h}) // what is left of it ends with the generation
		}
	}
}

func cloexecFlag(on bool) uint64 {
	if on {
		return unix.O_CLOEXEC
	}
	return 0
}
