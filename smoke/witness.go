package smoke

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hupt/fdtable"
)

// sortSockets puts TCP before Unix before UDP, and each by address.
func sortSockets(list []Socket) {
	rank := func(s Socket) string {
		return strings.NewReplacer("tcp4", "1", "tcp6", "2", "unix", "3", "udp4", "4", "udp6", "5").Replace(s.Network)
	}
	slices.SortFunc(list, func(a, b Socket) int {
		if c := strings.Compare(rank(a), rank(b)); c != 0 {
			return c
		}
		if c := strings.Compare(a.Address, b.Address); c != 0 {
			return c
		}
		return int(int64(a.Inode) - int64(b.Inode))
	})
}

// holder opens a connection to a TCP target and returns which of the processes
// that pids lists have its server's end, as the kernel tells: no answer has to
// say who gave it. Nobody within the time gives none.
func holder(t Target, pids func() []int, within time.Duration) []int {
	if t.Network != "tcp4" && t.Network != "tcp6" {
		return nil
	}
	conn, err := net.DialTimeout("tcp", t.Dial, within)
	if err != nil {
		return nil
	}
	defer conn.Close()
	// A server may be told of a connection only when it has data
	// (TCP_DEFER_ACCEPT): the beginning of what this one speaks.
	conn.Write(t.opening())
	us := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	server := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	wait := 2 * time.Millisecond
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(wait) {
		inode := accepted(server, us)
		if inode == 0 {
			continue
		}
		if who := socketInodes(pids())[inode]; len(who) > 0 {
			return who
		}
		wait *= 2 // all of /proc is read each time
	}
	return nil
}

// accepted returns the inode of the socket with these ends. One that waits for
// its accept() has none.
func accepted(local, remote netip.AddrPort) uint64 {
	plain := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
	list, err := fdtable.Dump(fdtable.Connected, local.Port())
	if err != nil {
		return 0
	}
	for _, s := range list {
		if s.Inode != 0 && plain(s.Local) == plain(local) && plain(s.Remote) == plain(remote) {
			return s.Inode
		}
	}
	return 0
}
