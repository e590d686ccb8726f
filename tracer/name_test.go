package tracer

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestParseBind: what the kernel takes for an address depends on its length, too.
func TestParseBind(t *testing.T) {
	v4 := []byte{unix.AF_INET, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	none := []byte{unix.AF_UNSPEC, 0, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	path := []byte{unix.AF_UNIX, 0, '/', 's', 0}
	for _, c := range []struct {
		b      []byte
		length int
		want   string // empty: none
	}{
		{v4, 16, "127.0.0.1:8080"}, {v4, 128, "127.0.0.1:8080"}, {v4, 129, ""}, {v4, -1, ""}, {v4, 2000000000, ""}, {v4[:15], 15, ""}, {nil, 0, ""},
		{none, 16, "0.0.0.0:8080"}, {none[:15], 15, ""}, {append([]byte{unix.AF_UNSPEC, 0}, v4[2:]...), 16, ""},
		{path, 5, "/s"}, {path, unix.SizeofSockaddrUnix, "/s"}, {path, unix.SizeofSockaddrUnix + 1, ""}, {path, -1, ""},
	} {
		n, ok := parseBind(c.b, c.length)
		if ok != (c.want != "") || ok && n.Text() != c.want {
			t.Errorf("% x, length %d: %q, %v", c.b, c.length, n.Text(), ok)
		}
	}
}

func TestParseSockaddr(t *testing.T) {
	v4 := []byte{unix.AF_INET, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	v6 := make([]byte, 28)
	copy(v6, []byte{unix.AF_INET6, 0, 0x00, 0x50})
	v6[23] = 1
	v6[24] = 7 // the scope
	mapped := append([]byte(nil), v6...)
	copy(mapped[18:], []byte{0xff, 0xff, 10, 0, 0, 1})
	for name, c := range map[string]struct {
		b      []byte
		family int
		want   string // empty: none
	}{
		"v4":                       {v4, unix.AF_INET, "127.0.0.1:8080"},
		"v4 in a larger buffer":    {append(append([]byte(nil), v4...), 9, 9, 9), unix.AF_INET, "127.0.0.1:8080"},
		"v6":                       {v6, unix.AF_INET6, "[::1]:80"},
		"v6 without a scope":       {v6[:24], unix.AF_INET6, "[::1]:80"},
		"v4 in v6":                 {mapped, unix.AF_INET6, "[::ffff:10.0.0.1]:80"},
		"v4 cut off":               {v4[:7], unix.AF_INET, ""},
		"v6 cut off":               {v6[:23], unix.AF_INET6, ""},
		"unix":                     {[]byte{unix.AF_UNIX, 0, '/', 't', 'm', 'p', '/', 's', 0}, unix.AF_UNIX, "/tmp/s"},
		"unix without a NUL":       {[]byte{unix.AF_UNIX, 0, 't', '/', 's'}, unix.AF_UNIX, "t/s"},
		"unix, abstract":           {[]byte{unix.AF_UNIX, 0, 0, 'a', 0, 'b'}, unix.AF_UNIX, "@a@b"},
		"unix, autobind":           {[]byte{unix.AF_UNIX, 0}, unix.AF_UNIX, ""},
		"netlink":                  {[]byte{unix.AF_NETLINK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, unix.AF_NETLINK, ""},
		"a family that is too big": {[]byte{0xff, 0xff, 0, 80, 0, 0, 0, 0}, 0xffff, ""},
		"one byte":                 {[]byte{2}, 0, ""},
		"nothing":                  {nil, 0, ""},
	} {
		n, ok := parseSockaddr(c.b)
		got := ""
		if ok {
			got = n.Text()
		}
		if n.Family != c.family || got != c.want || ok != (c.want != "") {
			t.Errorf("%s: family %d, %q, %v", name, n.Family, got, ok)
		}
	}
}

func FuzzParseSockaddr(f *testing.F) {
	f.Add([]byte{unix.AF_INET, 0, 0x1f, 0x90, 127, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok := parseSockaddr(b); ok && (!handed(n.Family) || n.Address.IsValid() == (n.Path != "")) {
			t.Errorf("%+v", n)
		}
	})
}

// TestNameOf names sockets of this process's own as the kernel knows them.
func TestNameOf(t *testing.T) {
	for _, c := range []struct{ network, address, want string }{
		{"tcp4", "127.0.0.1:0", "tcp4 127.0.0.1:"},
		{"tcp6", "[::1]:0", "tcp6 [::1]:"},
	} {
		l, err := net.Listen(c.network, c.address) // MPTCP since Go 1.24
		if err != nil {
			t.Logf("%s: %v", c.network, err)
			continue
		}
		defer l.Close()
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		n, err := nameOf(int(file.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		at := l.Addr().(*net.TCPAddr).AddrPort()
		if n.Type != unix.SOCK_STREAM || n.Protocol != unix.IPPROTO_TCP || n.Address.Port() != at.Port() {
			t.Errorf("%+v", n)
		}
		if got := n.String(); got != n.Network()+" "+at.String() || got[:len(c.want)] != c.want {
			t.Error(got)
		}
		if n.V6Only != (n.Family == unix.AF_INET6) {
			t.Errorf("%s: V6Only is %v", c.network, n.V6Only)
		}
	}
	if _, err := nameOf(-1); err == nil {
		t.Error("a descriptor that is not open has a name")
	}
}

// name is "tcp4 127.0.0.1:80" of a plain socket.
func name(family int, at string) Name {
	return Name{Family: family, Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, Address: netip.MustParseAddrPort(at)}
}

func TestMatches(t *testing.T) {
	only := name(unix.AF_INET6, "[::]:80")
	only.V6Only = true
	datagram := name(unix.AF_INET, "0.0.0.0:80")
	datagram.Type = unix.SOCK_DGRAM
	for what, c := range map[string]struct {
		held Held
		want Name
		ok   bool
	}{
		"the same":                             {Held{Name: name(unix.AF_INET, "1.2.3.4:80")}, name(unix.AF_INET, "1.2.3.4:80"), true},
		"another port":                         {Held{Name: name(unix.AF_INET, "1.2.3.4:80")}, name(unix.AF_INET, "1.2.3.4:81"), false},
		"another address":                      {Held{Name: name(unix.AF_INET, "1.2.3.4:80")}, name(unix.AF_INET, "0.0.0.0:80"), false},
		"another family":                       {Held{Name: name(unix.AF_INET, "0.0.0.0:80")}, name(unix.AF_INET6, "[::]:80"), false},
		"another type":                         {Held{Name: name(unix.AF_INET, "0.0.0.0:80")}, datagram, false},
		"v6 alone":                             {Held{Name: only}, name(unix.AF_INET6, "[::]:80"), false},
		"closed":                               {Held{FD: -1, Name: name(unix.AF_INET, "1.2.3.4:80")}, name(unix.AF_INET, "1.2.3.4:80"), false},
		"any port, as before":                  {Held{Name: name(unix.AF_INET, "1.2.3.4:4711"), PortZero: true}, name(unix.AF_INET, "1.2.3.4:0"), true},
		"any port, but it had asked for one":   {Held{Name: name(unix.AF_INET, "1.2.3.4:4711")}, name(unix.AF_INET, "1.2.3.4:0"), false},
		"a port that was chosen by the kernel": {Held{Name: name(unix.AF_INET, "1.2.3.4:4711"), PortZero: true}, name(unix.AF_INET, "1.2.3.4:4711"), true},
		"any port of another address":          {Held{Name: name(unix.AF_INET, "1.2.3.4:4711"), PortZero: true}, name(unix.AF_INET, "127.0.0.1:0"), false},
	} {
		if got := c.held.matches(c.want); got != c.ok {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func TestSortHeld(t *testing.T) {
	held := []*Held{{Inode: 5}, {Inode: 3}, {Inode: 9}, {Inode: 1}}
	sortHeld(held)
	for n, want := range []uint64{1, 3, 5, 9} {
		if held[n].Inode != want {
			t.Errorf("%d: %d", n, held[n].Inode)
		}
	}
}

func TestProgress(t *testing.T) {
	g := &Generation{
		offers:    []*offer{{held: &Held{}, taken: true}, {held: &Held{}}},
		listening: map[uint64]bool{1: true, 2: true},
		waiting:   map[uint64]bool{1: true},
	}
	if got := g.progress(); got != (Progress{Offered: 2, Adopted: 1, Listening: 2, Waiting: 1}) || !g.pending() {
		t.Errorf("%+v", got)
	}
	g.waiting[2] = true
	if !g.pending() {
		t.Error("not pending, though one socket was not adopted yet")
	}
	g.offers[1].taken = true
	if g.pending() {
		t.Error("pending")
	}
}
