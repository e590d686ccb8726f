package fdtable

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAgain: connections that a dump gave are found one by one, until they are
// closed; the listening socket, which their ends then mean, is not taken for them.
func TestAgain(t *testing.T) {
	for name, c := range map[string]struct {
		family int
		bound  unix.Sockaddr
		ip     string
	}{
		"v4":   {unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, "127.0.0.1"},
		"v6":   {unix.AF_INET6, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}, "::1"},
		"dual": {unix.AF_INET6, &unix.SockaddrInet6{}, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			fd, port := listeningOn(t, c.family, 0, 7, c.bound)
			at := netip.AddrPortFrom(netip.MustParseAddr(c.ip), uint16(port))
			var list []Socket
			var conns []int
			for range 3 {
				client := dial(t, at)
				conn, _, err := unix.Accept(fd)
				try(t, err)
				_, err = client.Write([]byte("hello"))
				try(t, err)
				await(t, "5 bytes unread", func() bool { return find(t, Connected, at.Port(), inodeOf(t, conn)).Unread == 5 })
				list = append(list, *find(t, Connected, at.Port(), inodeOf(t, conn)))
				conns = append(conns, conn)
			}
			got, err := Again(list)
			try(t, err)
			if len(got) != 3 || got[1].Inode != list[1].Inode || got[1].Received != 5 || got[1].Unread != 5 {
				t.Errorf("of three open connections: %+v", got)
			}
			list[2].Inode++ // another one with these ends
			unix.Close(conns[0])
			defer unix.Close(conns[1])
			defer unix.Close(conns[2])
			got, err = Again(list)
			try(t, err)
			if len(got) != 1 || got[0].Inode != list[1].Inode {
				t.Errorf("of one open connection: %+v", got)
			}
		})
	}
	if got, err := Again(nil); err != nil || len(got) > 0 {
		t.Errorf("of none: %v, %v", got, err)
	}
}
