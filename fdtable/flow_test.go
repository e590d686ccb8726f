package fdtable

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFlow: what the kernel tells of a connection, asked of the socket and of
// sock_diag, as it goes on.
func TestFlow(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	b := make([]byte, 1000)
	for n, c := range []struct {
		what             func()
		received, unread int
		written          uint64
		last             Speaker
	}{
		{func() {}, 0, 0, 0, Nobody},
		{func() { client.Write(b[:100]) }, 100, 100, 0, Client},
		{func() { server.Read(b[:60]) }, 100, 40, 0, Client},
		{func() { server.Read(b[:40]); time.Sleep(20 * time.Millisecond) }, 100, 0, 0, Client},
		{func() { server.Write(b[:700]); client.Read(b) }, 100, 0, 700, Server},
		{func() { time.Sleep(20 * time.Millisecond); client.Write(b[:1]); server.Read(b) }, 101, 0, 700, Client},
		{func() { time.Sleep(20 * time.Millisecond); server.Write(b); client.Read(b) }, 101, 0, 1700, Server},
	} {
		c.what()
		check := func(from string, f Flow) {
			t.Helper()
			// Acked may count the SYN.
			if int(f.Received) != c.received || f.Unread != c.unread || f.Written()-c.written > 1 || f.LastWord() != c.last {
				t.Errorf("step %d, by %s: %+v, last word %d", n, from, f, f.LastWord())
			}
		}
		var own, told Flow
		for range 100 { // until the client has acknowledged
			raw, _ := server.(*net.TCPConn).SyscallConn()
			raw.Control(func(fd uintptr) { own, err = FlowOf(int(fd)) })
			if err != nil {
				t.Fatal(err)
			}
			all, err := DumpFlows(Connected, uint16(l.Addr().(*net.TCPAddr).Port))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range all {
				if s.Family == unix.AF_INET && s.Remote.String() == client.LocalAddr().String() {
					told = s.Flow
				}
			}
			if own.Unsent == 0 && told.Unsent == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		check("the socket", own)
		check("sock_diag", told)
	}
}

// TestLastWord: within one tick, what can be told and what can't.
func TestLastWord(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		f    Flow
		want Speaker
	}{
		{Flow{Received: 9, Requests: 1, Segments: 1, SinceSent: 8 * ms, SinceReceived: 8 * ms, SinceAck: 8 * ms}, Server},
		{Flow{Received: 9, Requests: 2, Segments: 1, SinceSent: 8 * ms, SinceReceived: 8 * ms, SinceAck: 8 * ms}, EitherOne},
		{Flow{Received: 9, Requests: 2, Segments: 1, SinceSent: 48 * ms, SinceReceived: 48 * ms, SinceAck: 8 * ms}, Server},
		{Flow{Received: 9, Requests: 2, Segments: 1, SinceSent: 48 * ms, SinceReceived: 48 * ms, SinceAck: 48 * ms, Unread: 1}, Client},
		{Flow{Received: 9, Requests: 1}, Client},
		{Flow{Segments: 1}, Server},
	} {
		if got := c.f.LastWord(); got != c.want {
			t.Errorf("%+v: %d, not %d", c.f, got, c.want)
		}
	}
}
