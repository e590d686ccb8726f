package tracer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// Snapshot takes a duplicate of every listening socket that generation g has
// open, TCP and Unix, of every bound Unix datagram socket, and of its UDP
// servers.
//
// The kernel's tables say which they are: sock_diag lists the listening
// sockets of the network namespace, /proc/PID/fd the descriptors.
func (t *Tracer) Snapshot(g *Generation) ([]*Held, error) { return t.snapshot(g, nil, false) }

// Look is Snapshot for sockets that are to be kept while g serves on. Those that
// are among have already are taken from there, and so is what g may yet ask for, or had
// a moment ago.
func (t *Tracer) Look(g *Generation, have []*Held) ([]*Held, error) {
	return t.snapshot(g, have, true)
}

// lately: a program that had a socket then may be about to bind it anew.
const lately = 2 * time.Second

func (t *Tracer) snapshot(g *Generation, have []*Held, keep bool) (held []*Held, err error) {
	sockets, err := fdtable.DumpAll(fdtable.Listening | fdtable.Connected)
	if err != nil {
		return nil, err
	}
	isListening := make(map[uint64]bool, len(sockets))
	listener := make(map[uint64]fdtable.Socket)
	for _, s := range sockets {
		isListening[s.Inode] = s.Receives()
		if isListening[s.Inode] {
			listener[s.Inode] = s
		}
	}
	seen := make(map[uint64]bool)
	t.Do(func() {
		g.opened = false
		room := t.roomOf(g, have)
		byInode := make(map[uint64]*Held)
		for _, h := range have {
			if h.FD >= 0 {
				byInode[h.Inode] = h
			}
		}
		if err = t.servers(isListening); err != nil {
			return
		}
		maps.DeleteFunc(t.portZero, func(inode uint64, _ bool) bool {
			_, known := isListening[inode]
			return t.lost(inode, known)
		})
		for pid := range g.procs {
			sockets, e := fdtable.Sockets(pid)
			if errors.Is(e, fs.ErrPermission) && !isEnding(pid) {
				err = fmt.Errorf("the sockets of process %d can't be read: it is not dumpable (prctl(2)); run hupt as root", pid)
			}
			if e != nil {
				continue
			}
			for fd, inode := range sockets {
				if seen[inode] || t.isDummy(inode) { // which look like what they stand in for
					continue
				}
				// A dump may miss a socket while others come and go.
				listens, known := isListening[inode]
				if !known {
					listens = serves(pid, fd, t.bound[inode])
				}
				if !listens {
					continue
				}
				h := byInode[inode]
				if h == nil {
					if h, e = hold(pid, fd, inode); e != nil {
						// EBADF: it was closed since it was listed.
						if !gone(e) && !errors.Is(e, unix.EBADF) && err == nil {
							err = e
						}
						continue
					}
					h.backlog = unix.SOMAXCONN // the kernel takes what it allows
					if s, ok := listener[inode]; ok {
						h.backlog, h.Name.File = s.Backlog, s.File
					}
					if !room.take(h) || !t.canBeAskedFor(h) {
						seen[inode] = true
						h.close()
						continue
					}
					h.of, h.PortZero = g, t.portZero[inode]
				}
				if h.file != nil && byInode[inode] == h {
					t.fileFor(h) // it may have been renamed since
				}
				h.awaited = h.Name.udp() || h.Name.Datagram() && t.isAwaited(g, listener[inode], inode)
				h.idle = g.settled && !t.byWord && g.listening[inode] && !g.waiting[inode]
				if h.address = ""; t.isAddress(g, h) {
					h.address = h.text()
				}
				seen[inode] = true
				held = append(held, h)
				h.kept = keep
			}
		}
		for _, h := range have {
			// A program that closes it and binds it anew, again and again, has it at no
			// look, perhaps, and all the same.
			if h.FD >= 0 && !seen[h.Inode] && (t.mayBeTaken(h.Inode) || keep && time.Since(h.last) < lately) {
				held = append(held, h)
			}
		}
		// At once: whatever is held is in the way of a bind.
		t.held = slices.DeleteFunc(t.held, func(h *Held) bool { return h.FD < 0 || slices.Contains(held, h) })
		t.held = append(t.held, held...)
	})
	sortHeld(held)
	return held, err
}

// lost reports whether a socket that something is remembered of has gone: one
// dump may miss it while others come and go, three in a row don't.
func (t *Tracer) lost(inode uint64, there bool) bool {
	const looks = 3
	if there {
		delete(t.missed, inode)
		return false
	}
	if t.missed[inode]++; t.missed[inode] < looks {
		return false
	}
	delete(t.missed, inode)
	return true
}

// canBeAskedFor reports whether a bind of another generation can mean h.
func (t *Tracer) canBeAskedFor(h *Held) bool {
	if h.Name.Family != unix.AF_UNIX {
		return true
	}
	if h.Name.hasFile() {
		h.file = t.fileFor(h)
		return h.file != nil
	}
	return !fdtable.Autobound(h.Name.Path)
}

// isEnding tells a process that is about to end, whose descriptors give EACCES
// once its memory has gone, from one that is not dumpable.
func isEnding(pid int) bool {
	for range 50 {
		if fdtable.Ended(pid, pid) {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// CanHold reports whether sockets can be taken out of the program at all:
// Docker's default seccomp profile gives EPERM for pidfd_getfd to whoever has
// no CAP_SYS_PTRACE.
func (t *Tracer) CanHold(g *Generation) bool {
	err := error(nil)
	t.Do(func() {
		var fd int
		if fd, err = takeFD(g.Root, 0); err == nil {
			closeDuplicate(fd)
		}
	})
	// Any other failure is that of a program without a standard input.
	return !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS)
}

func hold(pid, fd int, inode uint64) (*Held, error) {
	local, err := takeFD(pid, fd)
	if err != nil {
		return nil, fmt.Errorf("take socket %d of process %d: %w", fd, pid, err)
	}
	return holdLocal(local, inode)
}

// holdLocal is what hupt holds by its descriptor local of socket inode. It
// closes it if it fails.
func holdLocal(local int, inode uint64) (*Held, error) {
	// The process may have closed it and opened another meanwhile.
	var st unix.Stat_t
	if err := unix.Fstat(local, &st); err != nil || st.Ino != inode {
		closeDuplicate(local)
		return nil, os.NewSyscallError("pidfd_getfd", unix.ENOENT)
	}
	name, err := nameOf(local)
	if err != nil {
		closeDuplicate(local)
		return nil, err
	}
	flags, err := unix.FcntlInt(uintptr(local), unix.F_GETFL, 0)
	if err != nil {
		closeDuplicate(local)
		return nil, os.NewSyscallError("fcntl(F_GETFL)", err)
	}
	return &Held{FD: local, Inode: inode, Name: name, owner: st.Uid, nonBlock: flags&unix.O_NONBLOCK != 0}, nil
}

// sortHeld orders by the age of the sockets: inodes of sockets count upwards,
// so the n-th bind of a new generation gets what the n-th of the old one made.
func sortHeld(held []*Held) {
	for i := range held {
		for j := i; j > 0 && held[j].Inode < held[j-1].Inode; j-- {
			held[j], held[j-1] = held[j-1], held[j]
		}
	}
}

func (h *Held) close() {
	h.twin.drop()
	if h.FD >= 0 {
		closeDuplicate(h.FD) // it listened, but may do something else by now
		h.FD = -1
	}
}

// Accepted reports whether descriptor fd of process pid is a connection whose
// local end is of a name that match accepts. It asks the socket itself.
func Accepted(pid, fd int, match func(Name) bool) bool {
	local, err := takeFD(pid, fd)
	if err != nil {
		return false
	}
	defer closeDuplicate(local)
	n, err := nameOf(local)
	if err != nil || !handed(n.Family) || n.Datagram() {
		return false
	}
	v, err := unix.GetsockoptInt(local, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && v == 0 && match(n)
}

// serves reports whether descriptor fd of process pid is a listening socket of a
// kind that is handed over, or a bound datagram socket without a peer. Of the
// internet's, those count whose address was asked for: bound says whether. It
// asks the socket itself.
func serves(pid, fd int, bound bool) bool {
	local, err := takeFD(pid, fd)
	if err != nil {
		return false
	}
	defer closeDuplicate(local)
	n, err := nameOf(local)
	switch {
	case err != nil || !handed(n.Family):
		return false
	case !n.Datagram():
		v, err := unix.GetsockoptInt(local, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		return err == nil && v != 0
	case n.Family == unix.AF_UNIX:
		return n.Path != "" && !fdtable.Autobound(n.Path) && !isConnected(local)
	}
	return bound && n.Address.Port() != 0 && !isConnected(local) // port 0: the bind is still to be made
}
