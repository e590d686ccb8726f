package tracer

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// datagramGroup is a group of two servers' sockets, and between these, as after
// a restart to a version with more sockets than the one before, two dummies.
func datagramGroup(t *testing.T) (tr *Tracer, servers []*Held, dummies []*dummy) {
	t.Helper()
	tr = &Tracer{shunned: make(map[uint64]*Held), chosen: make(map[Name][]int), lent: make(map[uint64]bool)}
	g := &Generation{}
	tr.generations = []*Generation{g}
	name := Name{Family: unix.AF_INET, Type: unix.SOCK_DGRAM, Address: netip.MustParseAddrPort("127.0.0.1:0")}
	server := func() *Held {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		check(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		check(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		check(t, unix.Bind(fd, &unix.SockaddrInet4{Port: int(name.Address.Port()), Addr: name.Address.Addr().As4()}))
		sa, err := unix.Getsockname(fd)
		check(t, err)
		name.Address = netip.AddrPortFrom(name.Address.Addr(), uint16(sa.(*unix.SockaddrInet4).Port))
		var st unix.Stat_t
		check(t, unix.Fstat(fd, &st))
		h := &Held{FD: fd, Inode: st.Ino, Name: name}
		g.offers = append(g.offers, &offer{held: h})
		return h
	}
	dummyOf := func(h *Held) *dummy {
		d, err := tr.newDatagramDummy(h)
		check(t, err)
		return d
	}
	first := server()
	dummies = []*dummy{dummyOf(first), dummyOf(first)}
	servers = []*Held{first, server()}
	check(t, tr.steer(name))
	if got := tr.chosen[name]; len(got) != 2 || got[0] != 0 || got[1] != 3 {
		t.Fatalf("places %v are chosen, not the first and the last", got)
	}
	return tr, servers, dummies
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPartDummies: while what is deaf leaves a group, no datagram is lost, and in
// the end the kernel chooses among all that are left.
func TestPartDummies(t *testing.T) {
	for range 10 {
		tr, servers, dummies := datagramGroup(t)
		var sent, received atomic.Int64
		var stop, all atomic.Bool // nothing more is sent; nothing more can come
		var senders, readers sync.WaitGroup
		for _, h := range servers {
			check(t, unix.SetsockoptTimeval(h.FD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}))
			readers.Go(func() {
				for b := make([]byte, 16); ; {
					n, err := unix.Read(h.FD, b)
					if n > 0 {
						received.Add(1)
					} else if err != unix.EINTR && all.Load() {
						return
					}
				}
			})
		}
		for range 8 {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			check(t, err)
			senders.Go(func() {
				defer unix.Close(fd)
				at := &unix.SockaddrInet4{Port: int(servers[0].Name.Address.Port()), Addr: [4]byte{127, 0, 0, 1}}
				for !stop.Load() {
					// As many as the queues hold may be on their way.
					for sent.Load()-received.Load() > 60 && !stop.Load() {
						time.Sleep(50 * time.Microsecond)
					}
					sent.Add(1)
					if unix.Sendto(fd, []byte("datagram"), 0, at) != nil {
						sent.Add(-1)
					}
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		tr.partDummies(dummies)
		time.Sleep(20 * time.Millisecond)
		stop.Store(true)
		senders.Wait()
		all.Store(true)
		readers.Wait()
		if lost := sent.Load() - received.Load(); lost != 0 {
			t.Errorf("%d of %d datagrams were lost", lost, sent.Load())
		}
		if len(tr.shunned) != 0 || len(tr.chosen) != 0 {
			t.Errorf("%d are shunned and %v is chosen in the end", len(tr.shunned), tr.chosen)
		}
		size, err := groupSize(servers[0].Name)
		if err != nil || size != 2 {
			t.Errorf("%d sockets are in the group: %v", size, err)
		}
	}
}
