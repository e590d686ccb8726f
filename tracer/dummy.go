package tracer

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// dummy stands in for a listening socket in a quiesced generation: a port on
// which nobody ever calls. accept() on it blocks or gives EAGAIN, as the
// program asked for.
//
// It is a listening Unix socket of the same type, with a name that the kernel
// chose (unix(7), autobind). One that does not listen would give EINVAL, on
// which servers exit; a TCP one would open a port. In place of a datagram socket
// it is one to which nobody sends.
type dummy struct {
	fd       int
	inode    uint64
	kind     int // SOCK_STREAM…
	held     *Held
	nonBlock bool
	of       *Held // of an internet datagram socket: that it has the address of
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
	d := &dummy{held: held, nonBlock: flags&unix.O_NONBLOCK != 0}
	d.kind = held.Name.Type
	kind := d.kind | unix.SOCK_CLOEXEC
	if d.nonBlock {
		kind |= unix.SOCK_NONBLOCK
	}
	if d.fd, err = unix.Socket(unix.AF_UNIX, kind, 0); err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := d.open(); err != nil {
		unix.Close(d.fd)
		return nil, fmt.Errorf("make a dummy for %s: %w", held.Name, err)
	}
	return d, nil
}

func (d *dummy) open() error {
	if err := unix.Bind(d.fd, &unix.SockaddrUnix{}); err != nil { // autobind
		return os.NewSyscallError("bind", err)
	}
	if d.kind != unix.SOCK_DGRAM {
		if err := unix.Listen(d.fd, 8); err != nil {
			return os.NewSyscallError("listen", err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	d.inode = st.Ino
	var err error
	d.name, err = unix.Getsockname(d.fd)
	return os.NewSyscallError("getsockname", err)
}

// poke is a client that comes and leaves at once.
func (d *dummy) poke() error {
	fd, err := unix.Socket(unix.AF_UNIX, d.kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, d.name)
}
