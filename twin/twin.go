package twin

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Twin is a socket that can't be told from another one, and that nobody can reach.
type Twin struct {
	FD int // close-on-exec, the caller's

	kind  int      // its type
	name  []byte   // its address
	file  int      // of a Unix socket with a path: opened with O_PATH; else -1
	reach *sockets // others: sockets that can reach it, of all twins in its namespace; may be nil
}

// Close closes all but FD.
func (t *Twin) Close() {
	if t.file >= 0 {
		unix.Close(t.file)
		t.file = -1
	}
	if t.reach != nil {
		t.reach.drop()
		t.reach = nil
	}
}

// Knock connects to the twin, as a client that comes and leaves at once.
func (t *Twin) Knock() error {
	switch {
	case t.file >= 0:
		fd, err := unix.Socket(unix.AF_UNIX, t.kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer unix.Close(fd)
		return unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", t.file)})
	case t.reach == nil:
		return unix.ENOTCONN
	}
	return t.reach.knock(t.name)
}

// sockets are some in one network namespace, not connected, by which its twins of a family
// and type can be reached. A connection belongs to the namespace of the socket that began
// it, whoever calls connect().
type sockets struct {
	domain int
	fds    []int
	next   int
	users  int // twins that use them
}

func (s *sockets) drop() {
	if s.users--; s.users == 0 {
		closeAll(s.fds)
		s.fds = nil
	}
}

func (s *sockets) knock(name []byte) error {
	if len(s.fds) == 0 {
		return unix.ENOTCONN // all of them were needed
	}
	s.next %= len(s.fds)
	fd := s.fds[s.next]
	if s.domain == unix.AF_UNIX { // which can be connected once
		s.fds = append(s.fds[:s.next], s.fds[s.next+1:]...)
		defer unix.Close(fd)
		return connect(fd, name)
	}
	s.next++
	// What it was connected to before, long ago, ends by that (connect(2)).
	disconnected := make([]byte, 16) // AF_UNSPEC
	if err := connect(fd, disconnected); err != nil {
		return err
	}
	if err := connect(fd, name); err != nil && err != unix.EINPROGRESS {
		return err
	}
	unix.Shutdown(fd, unix.SHUT_RDWR)
	return nil
}

func connect(fd int, name []byte) error {
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)))
	if e != 0 {
		return e
	}
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
