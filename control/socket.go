package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path that fits sockaddr_un with its final NUL (unix(7)).
const maxPath = 107

// lockWait is how long to wait for another hupt that tidies the same directory.
const lockWait = time.Second

// socketPath is the name of the socket of the hupt with this pid.
func socketPath(dir string, pid int) string {
	return filepath.Join(dir, strconv.Itoa(pid)+".sock")
}

// pidOf reads the pid from a socket's name; 0 if it is not one of ours.
func pidOf(path string) int {
	name, ok := strings.CutSuffix(filepath.Base(path), ".sock")
	if !ok {
		return 0
	}
	pid, err := strconv.Atoi(name)
	if err != nil || pid <= 0 || strconv.Itoa(pid) != name {
		return 0
	}
	return pid
}

// bindSocket sweeps the directory and binds the socket for pid in it.
func bindSocket(dir Dir, pid int) (*net.UnixListener, error) {
	path := socketPath(dir.Path, pid)
	if len(path) > maxPath {
		return nil, fmt.Errorf("runtime directory %s is too long for a socket's name: choose one of at most %d bytes with --runtime-dir", dir.Path, maxPath-len("/4194304.sock"))
	}
	if err := dir.make(); err != nil {
		return nil, err
	}
	unlock := lock(dir.Path)
	defer unlock()
	sweepLocked(dir.Path)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, syscall.EADDRINUSE) {
		// Same pid, alive: another pid namespace shares the directory.
		return nil, fmt.Errorf("control socket %s is in use by another hupt: give each its own --runtime-dir", path)
	}
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// Not by umask, which is the whole process's and the program's as well;
	// until here the directory's mode keeps others out.
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return listener, nil
}

// sweep removes the sockets in dir behind which nobody listens any more.
func sweep(dir string) {
	unlock := lock(dir)
	defer unlock()
	sweepLocked(dir)
}

// sweepLocked wants the directory's lock: between bind and listen a socket
// refuses connections as a stale one does.
func sweepLocked(dir string) {
	for _, path := range sockets(dir) {
		if stale(path) {
			os.Remove(path) // if it can't be, the next one tries again
		}
	}
}

// sockets are the control sockets in a directory.
func sockets(dir string) []string {
	entries, _ := os.ReadDir(dir) // no directory, no sockets
	var paths []string
	for _, e := range entries {
		if e.Type()&fs.ModeSocket != 0 && pidOf(e.Name()) != 0 {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// stale reports whether nobody listens on a socket. The pid in its name can't
// tell: pids come again, and another pid namespace has others.
func stale(path string) bool {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// lock takes the directory's flock(2), so that nobody sweeps a socket that is
// just being made. It waits a bounded time: a hupt that was stopped with the
// lock in its hand must not stop all others.
func lock(dir string) (unlock func()) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return func() {}
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(deadline) {
			return func() { unix.Close(fd) }
		}
	}
}

// peer asks the kernel who is at the other end of a Unix connection
// (SO_PEERCRED, unix(7)); pid is 0 if it is not in our pid namespace.
func peer(conn net.Conn) (uid, pid int, err error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, 0, fmt.Errorf("%T is not a Unix connection", conn)
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, os.NewSyscallError("getsockopt(SO_PEERCRED)", credErr)); err != nil {
		return 0, 0, err
	}
	return int(cred.Uid), int(cred.Pid), nil
}
