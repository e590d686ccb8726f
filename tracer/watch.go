package tracer

import (
	"debug/buildinfo"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// How hupt knows that a generation really accepts.
//
// From the adoption of a socket, or listen() on a new one, until some task waits for
// connections on it, every system call of the generation stops. That is slow,
// but it lasts from there to the wait that follows, a handful of calls in most
// programs; and it is the only way that does not guess. A look
// at /proc would see a registration in an epoll set, but Go registers in
// net.Listen, which may be seconds before anything calls Accept; and trapping
// accept by the filter would cost for ever after, since no filter can be taken
// off again.

// onListen: the task is about to call listen().
func (t *Tracer) onListen(k *task, si syscallInfo) {
	g := k.proc.gen
	fd := int(int32(si.Args[0]))
	inode, ok := fdtable.SocketInode(k.tid, fd)
	if addr, zero := t.zeroBinds[inode]; zero {
		delete(t.zeroBinds, inode)
		at := Name{Family: unix.AF_INET, Address: addr}
		if addr.Addr().Is6() {
			at.Family = unix.AF_INET6
		}
		if o := t.offerFor(k, fd, at); o != nil {
			t.handOver(k, inode, o)
			if w := o.will; w != nil {
				w.later = &listening{pid: k.proc.pid, backlog: int(int32(si.Args[1]))}
			}
			return
		}
		t.portZero[inode] = true
	}
	if ok && !g.settled && !g.listening[inode] {
		if fd, err := k.takeFD(int(int32(si.Args[0]))); err == nil {
			n, err := kindOf(fd)
			closeDuplicate(fd)
			if err == nil && handed(n.Family) {
				g.listening[inode] = true
				t.noteOther(k, inode)
				t.watch(g)
				t.tell(Note{Kind: NoteProgress, Generation: g, Progress: g.progress()})
			}
		}
	}
	if ok && g.settled {
		t.tell(Note{Kind: NoteListened, Generation: g})
	}
	if ok {
		if t.catch(k, fd, inode, int(int32(si.Args[1]))) {
			return
		}
		t.joins(k, fd, inode, Name{})
	}
	if ok && t.listensLater(k, inode, int(int32(si.Args[1]))) {
		return
	}
	t.watchResult(k, "listen")
	if ok {
		t.opens(k, fd)
		k.alsoAwaitExit(func(v int64) {
			if v < 0 && g.listening[inode] && !g.waiting[inode] && !g.settled {
				delete(g.listening, inode)
				t.progressed(g)
			}
		})
	}
	t.resume(k, 0)
}

// watch makes every task of g stop at its system calls. Those that run are
// interrupted, so that they go on in that mode; one that is blocked in a call
// makes it again and is seen.
func (t *Tracer) watch(g *Generation) {
	if g.watching {
		return
	}
	g.watching = true
	for _, p := range g.procs {
		for _, k := range p.tasks {
			interrupt(k.tid)
		}
	}
}

// inherit finds the offered sockets that g's first process has open when it
// begins: those that hupt itself was given (LISTEN_FDS) and never binds. They
// count as listened on once something waits on them; it may never mean to.
func (t *Tracer) inherit(g *Generation) {
	sockets, err := fdtable.Sockets(g.Root)
	if err != nil {
		return
	}
	if len(g.offers) == 0 {
		t.inheritFirst(g, sockets)
	}
	for _, o := range g.offers {
		for _, inode := range sockets {
			if inode == o.held.Inode && !o.taken {
				o.taken, o.held.adopted = true, true
				g.inherited[inode] = true
				o.held.remember(o.held.FD)
			}
		}
	}
	if len(g.inherited) > 0 {
		t.watch(g)
		t.tell(Note{Kind: NoteProgress, Generation: g, Progress: g.progress()})
	}
}

// inheritedTime is how long the first generation is watched for a wait on what it
// inherited: hupt may have been given a socket that is nobody's concern.
const inheritedTime = 30 * time.Second

// inheritFirst is inherit for a generation that is offered nothing, since it comes after
// none: whatever its first process has open and can be waited on for clients was inherited.
func (t *Tracer) inheritFirst(g *Generation, sockets map[int]uint64) {
	for fd, inode := range sockets {
		if serves(g.Root, fd, true) {
			g.inherited[inode] = true
		}
	}
	if len(g.inherited) == 0 {
		return
	}
	t.after(inheritedTime, func() {
		if g.settled {
			return
		}
		maps.DeleteFunc(g.inherited, func(inode uint64, _ bool) bool { return !g.waiting[inode] })
		if !g.pending() {
			t.unwatch(g)
		}
	})
}

// unwatch lets every task of g run at full speed again, those that are blocked
// in a call that they entered in the slow mode, too.
func (t *Tracer) unwatch(g *Generation) {
	if !g.watching {
		return
	}
	g.watching = false
	g.rememberTaken()
	for _, p := range g.procs {
		for _, k := range p.tasks {
			interrupt(k.tid)
		}
	}
}

// watchEntry looks at a call that a task of a watched generation is about to
// make. It reports whether the task is to stay there.
func (t *Tracer) watchEntry(k *task, si syscallInfo) (stays bool) {
	g := k.proc.gen
	if !g.watching {
		return false
	}
	if t.toOwn(k, si) || t.listenFirst(k, si) {
		return true
	}
	if nr := int(si.Nr); nr == unix.SYS_SHUTDOWN || nr == unix.SYS_CONNECT && k.disconnects(si.Args) {
		t.sparePort(k, int(int32(si.Args[0])))
		return false
	}
	if int(si.Nr) == unix.SYS_SETSOCKOPT {
		t.joinsMulticast(k, si.Args)
		return false
	}
	if nr := int(si.Nr); nr == unix.SYS_FCNTL || nr == unix.SYS_IOCTL {
		t.setsFlag(k, si)
		return false
	}
	kind := waitCall(int(si.Nr))
	if kind == waitNone {
		return false
	}
	seen := false
	for inode := range k.waitsOn(kind, si.Args) {
		if o := g.takenOffer(inode); kind == waitAccept && o != nil && o.held.Name.Type == unix.SOCK_DGRAM {
			continue // it fails
		}
		if kind == waitAccept || kind == waitReceive {
			stays = t.holdAccept(k, inode)
		}
		if g.inherited[inode] {
			g.listening[inode] = true
		}
		if g.listening[inode] && !g.waiting[inode] {
			g.waiting[inode] = true
			g.acceptors[inode] = kind == waitAccept
			seen = true
		}
		if waited, ok := g.gathers[inode]; ok && !waited {
			g.gathers[inode] = true
			seen = true
		}
	}
	if !seen {
		return stays
	}
	if g.pending() {
		t.forgetClosed(g)
	}
	if t.progressed(g); g.pending() {
		t.awaitsLess(g)
	}
	return stays
}

// epoll event bits, epoll_ctl(2).
const (
	epollOut = uint32(unix.EPOLLOUT)
	epollET  = uint32(unix.EPOLLET & 0xffffffff)
)

// sparePort keeps a new generation that gives up from closing the port of the
// one that serves: shutdown() of a listener acts on the socket, not on the
// descriptor, and so does connect() to AF_UNSPEC. It is not made, and gives 0.
func (t *Tracer) sparePort(k *task, fd int) {
	inode, ok := fdtable.SocketInode(k.tid, fd)
	if !ok || !slices.ContainsFunc(k.proc.gen.offers, func(o *offer) bool { return o.taken && o.held.Inode == inode }) {
		return
	}
	t.skip(k, 0)
}

// pollRDNorm is POLLRDNORM, which means POLLIN (poll(2)).
const pollRDNorm = 0x40

// waitsOn is the inodes of the sockets that a call of task k waits on.
func (k *task) waitsOn(kind waitKind, args [6]uint64) map[uint64]bool {
	out := make(map[uint64]bool)
	var fds []int
	switch kind {
	case waitAccept, waitReceive:
		fds = []int{int(int32(args[0]))}
	case waitPoll:
		fds = pollFDs(k.tid, args[0], args[1])
	case waitSelect:
		fds = selectFDs(k.tid, args[1], args[0])
	case waitEpoll:
		k.waitsOnEpoll(int(int32(args[0])), out, 0)
	}
	for _, fd := range fds {
		if inode, ok := fdtable.SocketInode(k.tid, fd); ok {
			out[inode] = true
		} else if kind != waitReceive {
			k.waitsOnEpoll(fd, out, 0)
		}
	}
	return out
}

// waitsOnEpoll adds what the epoll set epfd waits on, and the sets in it, which
// the kernel allows to be nested five deep (epoll(7)).
func (k *task) waitsOnEpoll(epfd int, out map[uint64]bool, depth int) {
	regs, err := fdtable.Registrations(k.tid, epfd)
	if err != nil || depth > 5 {
		return
	}
	for _, r := range regs {
		if !fdtable.IsSocket(k.tid, r.TargetFD) {
			k.waitsOnEpoll(r.TargetFD, out, depth+1)
			continue
		}
		// Go's poller registers whatever it opens for everything at once,
		// edge-triggered: that says nothing of an Accept, which will show itself
		// by calling accept4. Others that do so (tokio) mean it.
		if r.Events&epollET != 0 && r.Events&epollOut != 0 && k.proc.isGo() {
			continue
		}
		out[r.Inode] = true
	}
}

// isGo reports whether the process runs a program that was built by Go.
func (p *process) isGo() bool {
	if p.goKnown == unknown {
		p.goKnown = no
		if _, err := buildinfo.ReadFile(fmt.Sprintf("/proc/%d/exe", p.pid)); err == nil {
			p.goKnown = yes
		}
	}
	return p.goKnown == yes
}

// pollFDs reads an array of n struct pollfd and lists those asked for POLLIN.
func pollFDs(tid int, addr, n uint64) []int {
	const size, limit = 8, 65536
	b := make([]byte, size*min(n, limit))
	if readMemory(tid, addr, b) != nil {
		return nil
	}
	var out []int
	for ; len(b) >= size; b = b[size:] {
		if order.Uint16(b[4:])&(unix.POLLIN|pollRDNorm) != 0 {
			out = append(out, int(int32(order.Uint32(b))))
		}
	}
	return out
}

// selectFDs lists the descriptors in a set of n bits.
func selectFDs(tid int, addr, n uint64) []int {
	const limit = 65536
	n = min(n, limit)
	b := make([]byte, (n+63)/64*8)
	if addr == 0 || len(b) == 0 || readMemory(tid, addr, b) != nil {
		return nil
	}
	var out []int
	for fd := range int(n) {
		if order.Uint64(b[fd/64*8:])&(1<<(fd%64)) != 0 {
			out = append(out, fd)
		}
	}
	return out
}
