package supervisor

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/tracer"
)

// TestDrainage counts connections down: many by one look at everything, the
// last ones one by one, and none only when everything was looked at again.
func TestDrainage(t *testing.T) {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	loopback := netip.MustParseAddr("127.0.0.1")
	if err := unix.Bind(l, &unix.SockaddrInet4{Addr: loopback.As4()}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(l, 100); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(loopback, uint16(sa.(*unix.SockaddrInet4).Port))
	var conns []int
	for range fewLeft + 5 {
		client, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, _, err := unix.Accept(l)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	d := newDrainage([]tracer.Name{{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Address: at}})
	looks := func(want int) {
		t.Helper()
		n, err := d.look([]int{os.Getpid()}, func() []int { return nil })
		if err != nil || n != want || len(d.open) != want {
			t.Fatalf("%d connections, %d known, %v; there are %d", n, len(d.open), err, want)
		}
	}
	closeOne := func() {
		unix.Close(conns[0])
		conns = conns[1:]
	}
	looks(len(conns))
	for len(conns) > 0 {
		closeOne()
		at := time.Now()
		d.dumped = at
		looks(len(conns))
		if all := d.dumped != at; all != (len(conns) >= fewLeft || len(conns) == 0) {
			t.Errorf("%d are left, and all were looked at: %v", len(conns), all)
		}
	}
	looks(0)
}
