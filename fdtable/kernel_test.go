package fdtable

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What is read here is what this kernel says of this process.

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listening opens a listening socket on a port that the kernel chooses.
func listening(t *testing.T, family, flags, backlog int) (fd, port int) {
	t.Helper()
	if family == unix.AF_INET6 {
		return listeningOn(t, family, flags, backlog, &unix.SockaddrInet6{Addr: [16]byte{15: 1}})
	}
	return listeningOn(t, family, flags, backlog, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
}

// listeningOn listens on an address; an IPv6 one takes IPv4 clients, too, if it can.
func listeningOn(t *testing.T, family, flags, backlog int, at unix.Sockaddr) (fd, port int) {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|flags, 0)
	if family == unix.AF_INET6 && err != nil {
		t.Skip("no IPv6 here")
	}
	try(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	if family == unix.AF_INET6 {
		try(t, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0))
		if err := unix.Bind(fd, at); err != nil {
			t.Skip("no IPv6 here")
		}
	} else {
		try(t, unix.Bind(fd, at))
	}
	try(t, unix.Listen(fd, backlog))
	sa, err := unix.Getsockname(fd)
	try(t, err)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		port = sa.Port
	case *unix.SockaddrInet6:
		port = sa.Port
	}
	return fd, port
}

func inodeOf(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	try(t, unix.Fstat(fd, &st))
	return st.Ino
}

// epollSet makes one that closes with the test.
func epollSet(t *testing.T) int {
	t.Helper()
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	try(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func epollAdd(ep, fd int, events uint32, data uint64) error {
	return unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(data), Pad: int32(data >> 32)})
}

func TestRead(t *testing.T) {
	a, _ := listening(t, unix.AF_INET, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 8)
	b, _ := listening(t, unix.AF_INET, 0, 8)
	unwanted, _ := listening(t, unix.AF_INET, 0, 8)
	ep, empty := epollSet(t), epollSet(t)

	const forced = unix.EPOLLERR | unix.EPOLLHUP // the kernel adds them
	exclusive := uint32(unix.EPOLLIN | unix.EPOLLEXCLUSIVE)
	edge := uint32(unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP) | uint32(unix.EPOLLET&0xffffffff)
	try(t, epollAdd(ep, a, exclusive, 1<<63|7))
	try(t, epollAdd(ep, b, edge, uint64(b)))
	try(t, epollAdd(ep, unwanted, unix.EPOLLIN|unix.EPOLLONESHOT, 0))

	inodes := []uint64{inodeOf(t, a), inodeOf(t, b)}
	table, err := Read(os.Getpid(), func(inode uint64) bool { return slices.Contains(inodes, inode) })
	try(t, err)
	slices.SortFunc(table.Sockets, func(x, y FD) int { return x.Num - y.Num })
	want := []FD{{a, inodes[0], true, true}, {b, inodes[1], false, false}}
	if diff := cmp.Diff(want, table.Sockets); diff != "" {
		t.Error(diff)
	}
	var got []Registration
	sawEmpty := false
	for _, e := range table.Epolls {
		switch e.FD {
		case ep:
			got = e.Entries
		case empty:
			sawEmpty = len(e.Entries) == 0
		}
	}
	slices.SortFunc(got, func(x, y Registration) int { return x.TargetFD - y.TargetFD })
	registrations := []Registration{
		{a, exclusive | forced, 1<<63 | 7, inodes[0]},
		{b, edge | forced, uint64(b), inodes[1]},
		{unwanted, unix.EPOLLIN | unix.EPOLLONESHOT | forced, 0, inodeOf(t, unwanted)},
	}
	if diff := cmp.Diff(registrations, got); diff != "" || !sawEmpty {
		t.Errorf("the empty set was seen: %v\n%s", sawEmpty, diff)
	}
}

// TestPlanHolds carries a plan out in this process: afterwards the set wakes
// for the replacement as it did for the listener, and for the listener no more.
func TestPlanHolds(t *testing.T) {
	listener, port := listening(t, unix.AF_INET, unix.SOCK_NONBLOCK, 8)
	spare, sparePort := listening(t, unix.AF_INET, unix.SOCK_NONBLOCK, 8)
	ep := epollSet(t)
	events := uint32(unix.EPOLLIN | unix.EPOLLEXCLUSIVE)
	try(t, epollAdd(ep, listener, events, 4711))
	replaced := inodeOf(t, listener)
	kept, err := unix.Dup(listener) // hupt's own
	try(t, err)
	defer unix.Close(kept)

	table, err := Read(os.Getpid(), func(inode uint64) bool { return inode == replaced })
	try(t, err)
	table.Sockets = slices.DeleteFunc(table.Sockets, func(s FD) bool { return s.Num == kept })
	for _, c := range Plan(table, map[uint64]bool{replaced: true}) {
		switch c.Op {
		case EpollDel:
			try(t, unix.EpollCtl(c.Epoll, unix.EPOLL_CTL_DEL, c.FD, nil))
		case Dup:
			try(t, unix.Dup3(spare, c.FD, 0))
		case EpollAdd:
			try(t, epollAdd(c.Epoll, c.FD, c.Events, c.Data))
		}
	}
	wakes := func(port int) int {
		c, err := net.DialTCP("tcp4", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		try(t, err)
		defer c.Close()
		var got [4]unix.EpollEvent
		n, err := unix.EpollWait(ep, got[:], 20)
		try(t, err)
		if n > 0 && got[0].Fd != 4711 {
			t.Errorf("data %d", got[0].Fd)
		}
		return n
	}
	if n := wakes(port); n != 0 {
		t.Errorf("%d events for the socket that was swapped away", n)
	}
	if n := wakes(sparePort); n != 1 {
		t.Errorf("%d events for its replacement", n)
	}
	try(t, unix.EpollCtl(ep, unix.EPOLL_CTL_DEL, listener, nil)) // as the program may
}

func TestSockets(t *testing.T) {
	fd, _ := listening(t, unix.AF_INET, 0, 1)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	try(t, err)
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	file, err := os.Open("/dev/null")
	try(t, err)
	defer file.Close()

	got, err := Sockets(os.Getpid())
	try(t, err)
	for _, fd := range []int{fd, pair[0], pair[1]} {
		if got[fd] != inodeOf(t, fd) {
			t.Errorf("descriptor %d: inode %d", fd, got[fd])
		}
		if inode, ok := SocketInode(os.Getpid(), fd); !ok || inode != got[fd] {
			t.Errorf("descriptor %d alone: inode %d, %v", fd, inode, ok)
		}
	}
	if inode, ok := got[int(file.Fd())]; ok {
		t.Errorf("a file is socket %d", inode)
	}
	if _, ok := SocketInode(os.Getpid(), int(file.Fd())); ok {
		t.Error("a file is a socket")
	}
	if _, ok := SocketInode(os.Getpid(), 1<<20); ok {
		t.Error("a closed descriptor is a socket")
	}
}

// TestGone: a process that ends meanwhile is an error, not a panic.
func TestGone(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	try(t, cmd.Start())
	pid := cmd.Process.Pid
	if Ended(pid, pid) || Ending(pid) || Reader(pid) != pid {
		t.Error("it ended before it was killed")
	}
	try(t, cmd.Process.Kill())
	var info unix.Siginfo // wait without reaping
	try(t, unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil))
	if !Ended(pid, pid) || !Ending(pid) || Reader(pid) != pid {
		t.Error("a zombie lives")
	}
	cmd.Wait()
	if !Ended(pid, pid) || !Ending(pid) {
		t.Error("who was reaped lives")
	}
	if _, err := Sockets(pid); err == nil {
		t.Error("sockets of nobody")
	}
	if _, err := Read(pid, func(uint64) bool { return true }); err == nil {
		t.Error("a table of nobody")
	}
	if _, err := Flags(pid, 0); err == nil {
		t.Error("flags of nobody")
	}
	if _, err := Registrations(pid, 0); err == nil {
		t.Error("registrations of nobody")
	}
}
