package tracer

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMerge: of two duplicates of a socket the first is kept, of one that was
// closed none, whichever list it is in.
func TestMerge(t *testing.T) {
	l := newLive(t)
	held := func(inode uint64) *Held {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		check(t, err)
		h := &Held{FD: fd, Inode: inode}
		t.Cleanup(func() { l.Do(h.close) })
		return h
	}
	first, again, closed, live, last := held(1), held(1), held(2), held(2), held(3)
	l.Do(closed.close)
	if got, want := l.Merge([]*Held{last, first, closed}, []*Held{again, live, last}), []*Held{first, live, last}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	if again.FD >= 0 || first.FD < 0 || live.FD < 0 || last.FD < 0 {
		t.Error("the wrong duplicate was closed")
	}
}

func TestInTheWay(t *testing.T) {
	tcp := func(addr string) Name {
		n := Name{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, Address: netip.MustParseAddrPort(addr)}
		if n.Address.Addr().Is6() {
			n.Family = unix.AF_INET6
		}
		return n
	}
	v6only := tcp("[::]:1")
	v6only.V6Only = true
	udp := tcp("127.0.0.1:1")
	udp.Type, udp.Protocol = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	abstract := Name{Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, Path: "\x00a"}
	for _, c := range []struct {
		a, b Name
		want bool
	}{
		{tcp("127.0.0.1:1"), tcp("127.0.0.1:1"), true},
		{tcp("127.0.0.1:1"), tcp("0.0.0.0:1"), true},
		{tcp("127.0.0.1:1"), tcp("127.0.0.2:1"), false},
		{tcp("127.0.0.1:1"), udp, false},
		{tcp("127.0.0.1:1"), tcp("[::]:1"), true},
		{tcp("127.0.0.1:1"), tcp("[::1]:1"), false},
		{tcp("0.0.0.0:1"), v6only, false},
		{tcp("[::1]:1"), tcp("[::]:1"), true},
		{abstract, abstract, true},
	} {
		if got := c.a.inTheWay(c.b); got != c.want {
			t.Errorf("%v and %v: %v", c.a, c.b, got)
		}
		if got := c.b.inTheWay(c.a); got != c.want {
			t.Errorf("%v and %v: %v", c.b, c.a, got)
		}
	}
}
