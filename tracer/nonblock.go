package tracer

import (
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// O_NONBLOCK sits on the open file description, of which a socket has only one:
// the generation that serves and the one that comes share it. If they differ in
// it (the new one has an event loop, the old one a thread for each connection),
// each would fail by what the other wants: an accept() that was to wait gives
// EAGAIN, on which programs exit; one that was not to wait stops an event loop.
//
// So the flag is of whoever serves. What the new generation wants is noted: what
// its own socket had before the bind, and what it sets since. It gets it as soon
// as nobody else accepts on the socket. Until then every system call of it goes on
// to stop, its fcntl(2) sees what it set, and its accept() is kept waiting, or gives
// EAGAIN, as the flag that it wants would have it.

// pauses of an accept that can't be made yet. They are short since the task
// hears no signal meanwhile.
const (
	blockedPause = 100 * time.Millisecond // of one that waits
	emptyPause   = 10 * time.Millisecond  // of one that does not: for that long it may spin
)

// fionbio is FIONBIO (asm-generic/ioctls.h), which sets the flag, too.
const fionbio = 0x5421

// takenOffer is the offer by which g got the held socket with that inode, or nil.
func (g *Generation) takenOffer(inode uint64) *offer {
	for _, o := range g.offers {
		if o.taken && o.held.Inode == inode {
			return o
		}
	}
	return nil
}

// fd is a descriptor of hupt's for the socket, or -1.
func (o *offer) fd() int {
	if o.own > 0 {
		return o.own
	}
	return o.held.FD
}

// keep keeps a descriptor until the flag is set: the held socket's is closed once
// it was handed over.
func (o *offer) keep() {
	if o.own > 0 {
		return
	}
	if fd, err := unix.FcntlInt(uintptr(o.held.FD), unix.F_DUPFD_CLOEXEC, 3); err == nil {
		o.own = fd
	}
}

func (o *offer) letGo() {
	if o.own > 0 {
		closeDuplicate(o.own)
		o.own = 0
	}
}

// differs reports whether the socket has another O_NONBLOCK than its new
// generation wants.
func (o *offer) differs() bool {
	if !o.taken || !o.known || o.fd() < 0 {
		return false
	}
	flags, err := unix.FcntlInt(uintptr(o.fd()), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK != 0 != o.nonBlock
}

// differs reports whether that is so of any socket of g.
func (g *Generation) differs() bool {
	for _, o := range g.offers {
		if o.differs() {
			return true
		}
	}
	return false
}

// setFlags gives the sockets of g the O_NONBLOCK that it wants, but for those
// that others accept on, who want another one.
func (t *Tracer) setFlags(g *Generation) {
	for _, o := range g.offers {
		if o.differs() && !t.acceptedBy(o.held.Inode, g) {
			unix.SetNonblock(o.fd(), o.nonBlock)
		}
	}
}

// acceptedBy reports whether a generation other than g has the socket, with the
// flag that it has now.
func (t *Tracer) acceptedBy(inode uint64, g *Generation) bool {
	for _, other := range t.generations {
		if other == g || other.quiesced || len(other.procs) == 0 {
			continue
		}
		if o := other.takenOffer(inode); o != nil {
			if !o.differs() {
				return true
			}
			continue // it waits for the same
		}
		for pid := range other.procs {
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
	}
	return false
}

// flagsLater is for when a generation does not accept any more: others may have
// waited for that.
func (t *Tracer) flagsLater() {
	for _, g := range t.generations {
		if len(g.procs) == 0 {
			g.letFlags()
			g.dropWills()
		}
		if g.quiesced || !g.settled || !g.watching || !g.differs() {
			continue
		}
		if t.setFlags(g); !g.differs() {
			g.letFlags()
			t.release(g)
			t.unwatch(g)
			g.forgetFlags()
		}
	}
}

// forgetFlags is for a generation that serves, whose fcntl(2) nobody sees any more:
// what it asked for it has, and what it sets from now on is its own.
func (g *Generation) forgetFlags() {
	for _, o := range g.offers {
		if !o.differs() {
			o.known = false
		}
	}
}

// keepFlags is for a generation that serves, and whose flags can't be set yet.
func (g *Generation) keepFlags() {
	for _, o := range g.offers {
		if o.differs() {
			o.keep()
		}
	}
}

func (g *Generation) letFlags() {
	for _, o := range g.offers {
		o.letGo()
	}
}

// waitsForFlag keeps a task at the entry of its accept while the socket has
// another O_NONBLOCK than its generation wants. It reports false if the task may
// go on.
func (t *Tracer) waitsForFlag(k *task, o *offer) bool {
	g := k.proc.gen
	if !o.differs() {
		return false
	}
	if k.proc.frozen {
		t.sendBack(k)
		return true
	}
	// Once it is let in, for a probe, say, it has what is there.
	if g.held == holdsNoMore && readable(o.fd()) {
		if !o.nonBlock {
			nr := 0
			if r, err := getRegisters(k.tid); err == nil {
				nr = syscallNumber(&r)
			}
			k.alsoAwaitExit(func(v int64) {
				if v == -int64(unix.EAGAIN) { // another one was faster
					t.again(k, nr)
				}
			})
		}
		return false
	}
	k.held = true
	pause := blockedPause
	if o.nonBlock {
		pause = emptyPause
	}
	t.later(k, pause, func() {
		switch {
		case !k.held:
		case o.nonBlock && !k.proc.frozen && o.differs():
			t.skip(k, -int64(unix.EAGAIN))
			t.resume(k, 0)
		default:
			t.sendBack(k)
		}
	})
	return true
}

// again makes a task that stands at the exit of a call make it once more.
func (t *Tracer) again(k *task, nr int) {
	if r, err := getRegisters(k.tid); err == nil {
		makeAgain(&r, nr)
		setRegisters(k.tid, r)
	}
}

func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLIN != 0
}

// setsFlag looks at an fcntl or an ioctl of a generation that does not serve yet:
// the flag of a socket that another one serves on is noted, and not set.
func (t *Tracer) setsFlag(k *task, si syscallInfo) {
	inode, ok := fdtable.SocketInode(k.tid, int(int32(si.Args[0])))
	if !ok {
		return
	}
	o := k.proc.gen.takenOffer(inode)
	if o == nil {
		return
	}
	const flag = uint64(unix.O_NONBLOCK)
	request := uint32(si.Args[1])
	switch {
	case int(si.Nr) == unix.SYS_IOCTL && request == fionbio:
		on := make([]byte, 4) // an int
		if readMemory(k.tid, si.Args[2], on) != nil {
			return // the kernel says EFAULT
		}
		t.wantsFlag(k, o, order.Uint32(on) != 0)
		if o.differs() {
			t.skip(k, 0)
		}
	case int(si.Nr) == unix.SYS_FCNTL && request == unix.F_SETFL:
		t.wantsFlag(k, o, si.Args[2]&flag != 0)
		if o.differs() {
			t.withArgument(k, 2, si.Args[2]^flag) // the others of its flags are set
		}
	case int(si.Nr) == unix.SYS_FCNTL && request == unix.F_GETFL && o.differs():
		k.alsoAwaitExit(func(v int64) {
			if r, err := getRegisters(k.tid); err == nil && v >= 0 {
				setResult(&r, v^int64(flag))
				setRegisters(k.tid, r)
			}
		})
	}
}

func (t *Tracer) wantsFlag(k *task, o *offer, nonBlock bool) {
	o.nonBlock, o.known = nonBlock, true
	g := k.proc.gen
	if t.setFlags(g); g.settled && !g.watching {
		g.forgetFlags()
	}
}

// skip lets the call at whose entry a task stands return v without being made.
func (t *Tracer) skip(k *task, v int64) {
	r, err := getRegisters(k.tid)
	if err != nil {
		return
	}
	skipCall(&r)
	if setRegisters(k.tid, r) != nil {
		return
	}
	k.awaitsExit = func(int64) {
		if r, err := getRegisters(k.tid); err == nil {
			setResult(&r, v)
			setRegisters(k.tid, r)
		}
	}
}

// withArgument makes the call at whose entry a task stands be made with another
// n-th argument, of which the task sees nothing.
func (t *Tracer) withArgument(k *task, n int, v uint64) {
	r, err := getRegisters(k.tid)
	if err != nil {
		return
	}
	was := arguments(&r)[n]
	setArgument(&r, n, v)
	if setRegisters(k.tid, r) != nil {
		return
	}
	k.alsoAwaitExit(func(int64) {
		if r, err := getRegisters(k.tid); err == nil {
			setArgument(&r, n, was)
			setRegisters(k.tid, r)
		}
	})
}
