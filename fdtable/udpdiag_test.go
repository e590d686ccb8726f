package fdtable

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDumpUDP: a bound socket without a peer is told apart from one that has one.
func TestDumpUDP(t *testing.T) {
	server, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	try(t, err)
	defer unix.Close(server)
	try(t, unix.Bind(server, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	at, err := unix.Getsockname(server)
	try(t, err)
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	try(t, err)
	defer unix.Close(client)
	try(t, unix.Connect(client, at))
	try(t, unix.Sendto(client, []byte("hello"), 0, nil))

	port := uint16(at.(*unix.SockaddrInet4).Port)
	want := map[uint64]uint8{inodeOf(t, server): StateClose, inodeOf(t, client): StateEstablished}
	all, err := DumpUDP(Datagrams, 0)
	try(t, err)
	for _, s := range all {
		if state, mine := want[s.Inode]; mine {
			if s.State != state || s.Type != unix.SOCK_DGRAM || state == StateClose && s.Local != netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port) {
				t.Errorf("%+v", s)
			}
			delete(want, s.Inode)
		}
	}
	if len(want) > 0 {
		t.Errorf("not told: %v", want)
	}
	one, err := DumpUDP(1<<StateClose, port)
	if err != nil || len(one) != 1 || one[0].Inode != inodeOf(t, server) || one[0].Unread == 0 {
		t.Errorf("on port %d: %+v, %v", port, one, err)
	}
}
