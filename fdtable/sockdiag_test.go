package fdtable

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/internal/machine"
)

// find is the socket with this inode among those that Dump gives.
func find(t *testing.T, states uint32, port uint16, inode uint64) *Socket {
	t.Helper()
	all, err := Dump(states, port)
	try(t, err)
	for n := range all {
		if s := &all[n]; s.Inode == inode {
			return s
		} else if port != 0 && s.Local.Port() != port {
			t.Errorf("asked for port %d and got %+v", port, *s)
		}
	}
	return nil
}

func TestDump(t *testing.T) {
	for name, c := range map[string]struct {
		family int
		ip     string
	}{"v4": {unix.AF_INET, "127.0.0.1"}, "v6": {unix.AF_INET6, "::1"}} {
		t.Run(name, func(t *testing.T) {
			fd, port := listening(t, c.family, 0, 7)
			inode, at := inodeOf(t, fd), netip.AddrPortFrom(netip.MustParseAddr(c.ip), uint16(port))
			want := Socket{Family: uint8(c.family), Type: unix.SOCK_STREAM, State: StateListen, Local: at, Inode: inode, Backlog: 7}
			listener := find(t, Listening, at.Port(), inode)
			if listener == nil {
				t.Fatal("the listener is not there")
			}
			want.Remote = listener.Remote // unspecified
			if *listener != want || listener.Remote.Port() != 0 {
				t.Errorf("%+v", *listener)
			}
			if find(t, Listening, 0, inode) == nil {
				t.Error("not among all listeners")
			}
			if find(t, Connected, at.Port(), inode) != nil {
				t.Error("a listener is connected")
			}

			// Connections that wait for accept() are in the queue, and theirs
			// have no inode yet.
			clients := []net.Conn{dial(t, at), dial(t, at), dial(t, at)}
			await(t, "3 in the queue", func() bool { return find(t, Listening, at.Port(), inode).Queue == 3 })
			conn, _, err := unix.Accept(fd)
			try(t, err)
			defer unix.Close(conn)
			if q := find(t, Listening, at.Port(), inode).Queue; q != 2 {
				t.Errorf("%d in the queue after an accept", q)
			}
			accepted := find(t, Connected, at.Port(), inodeOf(t, conn))
			if accepted == nil || accepted.State != StateEstablished || accepted.Local != at {
				t.Fatalf("the accepted connection: %+v", accepted)
			}
			if accepted.Remote.String() != clients[0].LocalAddr().String() {
				t.Errorf("its client is %v, not %v", accepted.Remote, clients[0].LocalAddr())
			}

			// What the program did not read yet, and what the client closed.
			_, err = clients[0].Write([]byte("hello"))
			try(t, err)
			await(t, "5 bytes unread", func() bool { return find(t, Connected, at.Port(), inodeOf(t, conn)).Unread == 5 })
			clients[0].Close()
			await(t, "CLOSE_WAIT", func() bool { return find(t, Connected, at.Port(), inodeOf(t, conn)).State == 8 })
		})
	}
}

// TestDumpGo finds what Go's net package listens on, which is MPTCP by default.
func TestDumpGo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	defer l.Close()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	file, err := l.(*net.TCPListener).File()
	try(t, err)
	defer file.Close()
	if find(t, Listening, at.Port(), inodeOf(t, int(file.Fd()))) == nil {
		t.Error("the listener is not there")
	}
	dial(t, at)
	conn, err := l.Accept()
	try(t, err)
	defer conn.Close()
	got, err := Dump(Connected, at.Port())
	try(t, err)
	fds, err := Sockets(os.Getpid())
	try(t, err)
	for _, s := range got {
		for _, inode := range fds {
			if inode == s.Inode && s.State == StateEstablished {
				return
			}
		}
	}
	t.Errorf("the connection is not there: %+v", got)
}

func TestParseSocketShort(t *testing.T) {
	for n := range 72 {
		if s, ok := parseSocket(make([]byte, n)); ok {
			t.Errorf("%d bytes are %+v", n, s)
		}
	}
}

func dial(t *testing.T, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(at))
	try(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(machine.Patience(5 * time.Second)); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
