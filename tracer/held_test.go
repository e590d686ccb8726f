package tracer

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestServes: what a dump of the kernel's tables missed is asked itself, whatever
// kind of socket it is.
func TestServes(t *testing.T) {
	dir := t.TempDir()
	udp := func(address string) func() (int, error) {
		return func() (int, error) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err == nil && address != "" {
				err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(address).To4())})
			}
			return fd, err
		}
	}
	local := func(kind int, name string, listens bool) func() (int, error) {
		return func() (int, error) {
			fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
			if err == nil && name != "" {
				err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
			}
			if err == nil && listens {
				err = unix.Listen(fd, 1)
			}
			return fd, err
		}
	}
	server := filepath.Join(dir, "server")
	for _, c := range []struct {
		name  string
		open  func() (int, error)
		bound bool
		want  bool
	}{
		{"UDP, bound", udp("127.0.0.1"), true, true},
		{"UDP, bound by a sendto", udp("127.0.0.1"), false, false},
		{"UDP, not bound", udp(""), true, false},
		{"Unix datagrams at a path", local(unix.SOCK_DGRAM, server, false), false, true},
		{"Unix datagrams, abstract", local(unix.SOCK_DGRAM, "@"+dir, false), false, true},
		{"Unix datagrams, not bound", local(unix.SOCK_DGRAM, "", false), false, false},
		{"Unix datagrams, autobound", func() (int, error) {
			fd, err := local(unix.SOCK_DGRAM, "", false)()
			if err == nil {
				err = unix.Bind(fd, &unix.SockaddrUnix{})
			}
			return fd, err
		}, false, false},
		{"Unix datagrams, with a peer", func() (int, error) {
			fd, err := local(unix.SOCK_DGRAM, filepath.Join(dir, "client"), false)()
			if err == nil {
				err = unix.Connect(fd, &unix.SockaddrUnix{Name: server})
			}
			return fd, err
		}, false, false},
		{"Unix stream, listens", local(unix.SOCK_STREAM, filepath.Join(dir, "stream"), true), false, true},
		{"Unix stream, bound only", local(unix.SOCK_STREAM, filepath.Join(dir, "bound"), false), false, false},
		{"Unix packets, listens", local(unix.SOCK_SEQPACKET, filepath.Join(dir, "packets"), true), false, true},
		{"a pipe", func() (int, error) {
			var p [2]int
			err := unix.Pipe2(p[:], unix.O_CLOEXEC)
			return p[0], err
		}, true, false},
	} {
		fd, err := c.open()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		t.Run(c.name, func(t *testing.T) {
			if got := serves(os.Getpid(), fd, c.bound); got != c.want {
				t.Errorf("serves: %v", got)
			}
		})
	}
}
