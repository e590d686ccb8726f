package tracer

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

func streamSocket(t *testing.T, listens bool) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if listens {
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Listen(fd, 1); err != nil {
			t.Fatal(err)
		}
	}
	return fd
}

// TestListenerSettings: a socket that listens gets all that a new one was given, and is then
// as it was, what sets something else along included.
func TestListenerSettings(t *testing.T) {
	from, to := streamSocket(t, false), streamSocket(t, true)
	for o, v := range map[option]int{
		{unix.SOL_SOCKET, unix.SO_RCVBUF}:               50_000,
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}:          1,
		{unix.IPPROTO_IP, unix.IP_TOS}:                  0x10,
		{unix.SOL_SOCKET, unix.SO_PRIORITY}:             2,
		{unix.IPPROTO_TCP, unix.TCP_MAXSEG}:             1000,
		{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT}:       3,
		{unix.IPPROTO_TCP, unix.TCP_FASTOPEN}:           4,
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}:       5000,
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT}:      6000,
		{unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT}: 1,
	} {
		if err := unix.SetsockoptInt(from, o.level, o.name, v); err != nil {
			t.Fatal(o, err)
		}
	}
	if err := unix.SetsockoptLinger(from, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3}); err != nil {
		t.Fatal(err)
	}
	was, want := readSettings(to, sharedOptions), readSettings(from, sharedOptions)
	for _, s := range []settings{want, was, want, was} {
		s.apply(to, sharedOptions)
		have := readSettings(to, sharedOptions)
		for o, v := range s {
			if !bytes.Equal(v, have[o]) {
				t.Errorf("%v: %v, not %v", o, have[o], v)
			}
		}
	}
}

// TestAttach: a filter that is read from one socket is another's, and is taken off again.
func TestAttach(t *testing.T) {
	from, to := streamSocket(t, false), streamSocket(t, true)
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN}, {Code: unix.BPF_RET | unix.BPF_K, K: 0xffff}}
	if err := unix.SetsockoptSockFprog(from, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 2, Filter: &program[0]}); err != nil {
		t.Skip(err)
	}
	none, some := filterOf(to, -1), filterOf(from, -1)
	if len(none.program) != 0 || len(some.program) != 2*sockFilterLen {
		t.Fatalf("%+v, %+v", none, some)
	}
	for _, f := range []filter{some, some, none, none} {
		f.attach(to, true)
		if have := filterOf(to, -1); !bytes.Equal(have.program, f.program) {
			t.Errorf("%v, not %v", have.program, f.program)
		}
	}
}

// TestOnOwn: what is the socket's goes to the program's own; what depends on where it is bound,
// and what is the descriptor's, does not.
func TestOnOwn(t *testing.T) {
	for _, c := range []struct {
		nr, first, second int
		want              bool
	}{
		{unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_RCVTIMEO, true},
		{unix.SYS_GETSOCKOPT, unix.SOL_SOCKET, unix.SO_RCVTIMEO, true},
		{unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, true},
		{unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_SNDTIMEO_NEW, true},
		{unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, true},
		{unix.SYS_SETSOCKOPT, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, true},
		{unix.SYS_SETSOCKOPT, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, false},
		{unix.SYS_GETSOCKOPT, unix.SOL_SOCKET, unix.SO_ACCEPTCONN, false},
		{unix.SYS_GETSOCKOPT, unix.SOL_SOCKET, unix.SO_PEERCRED, false},
		{unix.SYS_GETSOCKOPT, unix.IPPROTO_TCP, unix.TCP_INFO, false},
		{unix.SYS_FCNTL, unix.F_SETOWN, 0, true},
		{unix.SYS_FCNTL, unix.F_SETFD, 0, false},
		{unix.SYS_FCNTL, unix.F_DUPFD_CLOEXEC, 0, false},
		{unix.SYS_IOCTL, fionbio, 0, true},
		{unix.SYS_IOCTL, 0x5451 /* FIOCLEX */, 0, false},
		{unix.SYS_READ, unix.F_SETOWN, 0, false},
	} {
		if got := onOwn(c.nr, [6]uint64{3, uint64(c.first), uint64(c.second)}); got != c.want {
			t.Errorf("call %d of %d, %d: %v", c.nr, c.first, c.second, got)
		}
	}
}
