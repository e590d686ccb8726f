package tracer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// had is how a socket was before a generation that adopted it was served its will
// (see will.go). It may fail in its probation.
type had struct {
	settings settings
	filter   filter
	owner    owner
	cred     *unix.Ucred // of who listens on it, if it is a Unix socket
	undo     []setting   // what takes back what was done to multicast groups
}

// remember looks how the held socket is, of which hupt has descriptor fd, unless that is known.
func (h *Held) remember(fd int) {
	if h.had != nil {
		return
	}
	h.had = &had{settings: readSettings(fd, sharedOptions), filter: filterOf(fd, -1), owner: ownerOf(fd)}
	if h.Name.Family == unix.AF_UNIX {
		h.had.cred, _ = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	}
}

// rememberTaken is for when g is no longer watched: what it sets from here on, and fails
// before it serves, nobody sees.
func (g *Generation) rememberTaken() {
	if g.settled {
		return
	}
	for _, o := range g.offers {
		if o.taken && !o.common && o.held.FD >= 0 {
			o.held.remember(o.held.FD)
		}
	}
}

// Mend undoes what a failed generation did to sockets that it shared with the
// one that serves on: what it set, if it came to serve, and O_NONBLOCK, which sits on
// the file that both have. And a shutdown() of a listener, as many servers do on their
// way out, closes the port for both. A new listen() opens it again: the bind has lasted.
func (t *Tracer) Mend(held []*Held) {
	t.Do(func() {
		for _, h := range held {
			if h.FD < 0 {
				continue
			}
			unix.SetNonblock(h.FD, h.nonBlock)
			h.giveBack()
			if !h.Name.Datagram() && (!isListening(h.FD) || h.widened) {
				t.listenAgain(h, h.backlog)
				h.widened = false
			}
			t.giveBackInside(h)
		}
	})
}

func (h *Held) giveBack() {
	if h.had == nil {
		return
	}
	h.device = nil
	h.had.settings.apply(h.FD, sharedOptions)
	h.had.filter.attach(h.FD, false)
	for n := len(h.had.undo) - 1; n >= 0; n-- {
		setOption(h.FD, h.had.undo[n].option, h.had.undo[n].value)
	}
	h.had.undo = nil
	if h.Name.Datagram() && !h.PortZero && isConnected(h.FD) { // what is held had no peer
		disconnect(h.FD)
	}
}

// disconnect takes a datagram socket's peer away (connect(2)).
func disconnect(fd int) {
	var unspec [unix.SizeofSockaddrAny]byte
	unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec[0])), unix.SizeofSockaddrInet4)
}

// giveBackInside gives back what only a process can set that has the socket: who gets
// its signals, and who listens. While that has a dummy in its place, nobody can; Resume
// comes back then.
func (t *Tracer) giveBackInside(h *Held) {
	if h.had == nil || h.FD < 0 {
		return
	}
	var among []*process
	for _, g := range t.generations {
		if !g.quiesced && g.settled {
			among = append(among, t.having(g, h.Inode, int(h.had.owner.pid))...)
		}
	}
	t.own(h.Inode, h.FD, h.had.owner, among)
	if h.had.cred == nil || h.Name.Datagram() {
		return
	}
	now, err := unix.GetsockoptUcred(h.FD, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err == nil && *now != *h.had.cred {
		t.listenLike(h, *h.had.cred, h.backlog)
	}
}
