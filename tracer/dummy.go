package tracer

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hupt/twin"
)

// dummy stands in for a listening socket in a quiesced generation: a port on
// which nobody ever calls. accept() on it blocks or gives EAGAIN, as the
// program asked for.
//
// It is a twin of the socket, if there is one: package twin. Where there can't be, for
// want of namespaces, it is a listening Unix socket of the same type, with a name that
// the kernel chose (unix(7), autobind). One that does not listen would give EINVAL, on
// which servers exit; a TCP one would open a port. In place of a datagram socket
// it is one to which nobody sends.
type dummy struct {
	fd       int
	inode    uint64
	kind     int // SOCK_STREAM…
	held     *Held
	nonBlock bool
	of       *Held      // of an internet datagram socket: that it has the address of
	twin     *twin.Twin // what fd is; nil: it is no twin
	name     unix.Sockaddr
}

// newDummy makes one with the O_NONBLOCK that held has now. The flag sits on
// the open file description, which the generations share: the new one must be
// free to change it without waking the old one's accept().
func newDummy(held *Held) (*dummy, error) {
	flags, err := unix.FcntlInt(uintptr(held.FD), unix.F_GETFL, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl(F_GETFL)", err)
	}
	d := &dummy{held: held, kind: held.Name.Type, nonBlock: flags&unix.O_NONBLOCK != 0}
	if d.twin = held.twin.take(); d.twin != nil {
		d.fd = d.twin.FD
		if err := unix.SetNonblock(d.fd, d.nonBlock); err != nil {
			d.close()
			return nil, os.NewSyscallError("fcntl(F_SETFL)", err)
		}
	} else if err := d.open(); err != nil {
		return nil, fmt.Errorf("make a dummy for %s: %w", held.Name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		d.close()
		return nil, os.NewSyscallError("fstat", err)
	}
	d.inode = st.Ino
	return d, nil
}

// isDummy reports whether socket inode stands in for another one in some generation.
func (t *Tracer) isDummy(inode uint64) bool {
	for _, g := range t.generations {
		for _, d := range g.dummies {
			if d.inode == inode {
				return true
			}
		}
	}
	return false
}

// open makes one that is no twin.
func (d *dummy) open() (err error) {
	kind := d.kind | unix.SOCK_CLOEXEC
	if d.nonBlock {
		kind |= unix.SOCK_NONBLOCK
	}
	if d.fd, err = unix.Socket(unix.AF_UNIX, kind, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err = unix.Bind(d.fd, &unix.SockaddrUnix{}); err != nil { // autobind
		err = os.NewSyscallError("bind", err)
	} else if d.kind != unix.SOCK_DGRAM {
		err = os.NewSyscallError("listen", unix.Listen(d.fd, 8))
	}
	if err == nil {
		d.name, err = unix.Getsockname(d.fd)
	}
	if err != nil {
		unix.Close(d.fd)
	}
	return err
}

func (d *dummy) close() {
	unix.Close(d.fd)
	if d.twin != nil {
		d.twin.Close()
	}
}

// poke is a client that comes and leaves at once.
func (d *dummy) poke() error {
	if d.twin != nil {
		return d.twin.Knock()
	}
	fd, err := unix.Socket(unix.AF_UNIX, d.kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, d.name)
}
