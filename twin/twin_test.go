package twin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if Requested() {
		Main()
	}
	os.Exit(m.Run())
}

// startHere starts the child as hupt does, but for who waits for it.
func startHere(t *testing.T) func(c Child) (func(), error) {
	return func(c Child) (func(), error) {
		pid, err := syscall.ForkExec(c.Path, c.Argv, &syscall.ProcAttr{Env: c.Env, Sys: c.Sys, Files: []uintptr{0, 1, 2, uintptr(c.Socket)}})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() {
			var ws syscall.WaitStatus
			if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil || ws.ExitStatus() != 0 {
				t.Errorf("the child: %v, status %d", err, ws.ExitStatus())
			}
		})
		return func() { syscall.Kill(pid, syscall.SIGKILL) }, nil
	}
}

func rawName(t *testing.T, fd int) []byte {
	t.Helper()
	b := make([]byte, 128)
	n := uint32(len(b))
	if _, _, e := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n))); e != 0 {
		t.Fatal(e)
	}
	return b[:n]
}

// real opens a listening socket.
func real(t *testing.T, domain, kind, protocol int, a unix.Sockaddr) int {
	t.Helper()
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err := unix.Bind(fd, a); err != nil {
		t.Fatal(err)
	}
	if kind != unix.SOCK_DGRAM {
		if err := unix.Listen(fd, 9); err != nil {
			t.Fatal(err)
		}
	}
	return fd
}

// TestMake: twins of every family have the names of the real ones, beside them; who
// knocks comes to the twin, is of the family, and can't reach the real one; nobody else
// can reach a twin.
func TestMake(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	loopback6 := &unix.SockaddrInet6{}
	loopback6.Addr[15] = 1
	reals := []int{
		real(t, unix.AF_INET, unix.SOCK_STREAM, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		real(t, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 3}}),
		real(t, unix.AF_INET, unix.SOCK_STREAM, 0, &unix.SockaddrInet4{}),
		real(t, unix.AF_INET6, unix.SOCK_STREAM, 0, loopback6),
		real(t, unix.AF_INET6, unix.SOCK_STREAM, 0, &unix.SockaddrInet6{}),
		real(t, unix.AF_UNIX, unix.SOCK_STREAM, 0, &unix.SockaddrUnix{Name: filepath.Join(dir, "path")}),
		real(t, unix.AF_UNIX, unix.SOCK_STREAM, 0, &unix.SockaddrUnix{Name: "relative"}),
		real(t, unix.AF_UNIX, unix.SOCK_SEQPACKET, 0, &unix.SockaddrUnix{Name: "@" + strings.ReplaceAll(dir, "/", "-")}),
		real(t, unix.AF_UNIX, unix.SOCK_DGRAM, 0, &unix.SockaddrUnix{Name: "../" + filepath.Base(dir) + "/datagrams"}),
	}
	first := rawName(t, reals[0])
	port := int(first[2])<<8 | int(first[3])
	reals = append(reals, real(t, unix.AF_INET, unix.SOCK_STREAM, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}))
	var requests []Request
	for _, fd := range reals {
		r := Request{Address: rawName(t, fd), Backlog: 9}
		r.Domain, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		r.Type, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		r.Protocol, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if r.Type == unix.SOCK_DGRAM {
			r.Backlog = -1
		}
		requests = append(requests, r)
	}
	twins, err := Make(requests, startHere(t))
	if err != nil {
		t.Fatal(err)
	}
	for n, w := range twins {
		text := fmt.Sprintf("%d: %+v", n, requests[n])
		defer w.Close()
		defer unix.Close(w.FD)
		if got := rawName(t, w.FD); string(got) != string(requests[n].Address) {
			t.Errorf("%s: its name is %v", text, got)
		}
		for _, option := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_ACCEPTCONN} {
			have, _ := unix.GetsockoptInt(w.FD, unix.SOL_SOCKET, option)
			want, _ := unix.GetsockoptInt(reals[n], unix.SOL_SOCKET, option)
			if have != want {
				t.Errorf("%s: option %d is %d, not %d", text, option, have, want)
			}
		}
		if requests[n].Type == unix.SOCK_DGRAM {
			continue
		}
		unix.SetNonblock(w.FD, true)
		unix.SetNonblock(reals[n], true)
		for range 10 {
			if err := w.Knock(); err != nil {
				t.Errorf("%s: knock: %v", text, err)
				break
			}
			if !await(w.FD) {
				t.Errorf("%s: nobody comes", text)
				break
			}
			fd, from, err := unix.Accept(w.FD)
			if err != nil {
				t.Errorf("%s: accept: %v", text, err)
				break
			}
			if got := familyOf(from); got != requests[n].Domain {
				t.Errorf("%s: family %d comes", text, got)
			}
			unix.Close(fd)
			if fd, _, err := unix.Accept(reals[n]); err == nil {
				t.Errorf("%s: somebody came to the real one", text)
				unix.Close(fd)
			}
		}
	}
	// A client that is in this namespace comes to the real one.
	client, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	defer unix.Close(client)
	if err := unix.Connect(client, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 3}, Port: portOf(requests[1].Address)}); err != nil {
		t.Error(err)
	}
	if !await(reals[1]) || await(twins[1].FD) {
		t.Error("a client came to the twin")
	}
}

func portOf(name []byte) int { return int(name[2])<<8 | int(name[3]) }

func await(fd int) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 200)
	return n == 1
}

func familyOf(a unix.Sockaddr) int {
	switch a.(type) {
	case *unix.SockaddrInet4:
		return unix.AF_INET
	case *unix.SockaddrInet6:
		return unix.AF_INET6
	}
	return unix.AF_UNIX
}

// TestMakeSome: what can't be had keeps nobody else from his twin.
func TestMakeSome(t *testing.T) {
	fd := real(t, unix.AF_INET, unix.SOCK_STREAM, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	good := Request{Domain: unix.AF_INET, Type: unix.SOCK_STREAM, Address: rawName(t, fd), Backlog: 1}
	bad := good
	bad.Domain = unix.AF_APPLETALK
	twins, err := Make([]Request{bad, good, {}}, startHere(t))
	if err == nil || twins[0] != nil || twins[2] != nil || twins[1] == nil {
		t.Fatalf("%v, %v", twins, err)
	}
	twins[1].Close()
	unix.Close(twins[1].FD)
}

// TestMakeNot: a child that can't be started, ends at once, or says nothing is no harm.
func TestMakeNot(t *testing.T) {
	r := []Request{{Domain: unix.AF_INET, Type: unix.SOCK_STREAM, Address: make([]byte, 16)}}
	if twins, err := Make(r, func(Child) (func(), error) { return nil, unix.EAGAIN }); err == nil || twins[0] != nil {
		t.Errorf("%v, %v", twins, err)
	}
	if twins, err := Make(r, func(Child) (func(), error) { return func() {}, nil }); err == nil || twins[0] != nil {
		t.Errorf("%v, %v", twins, err)
	}
}
