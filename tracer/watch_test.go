package tracer

import (
	"os"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a program waits on is read here from the memory of this process, from
// where it stays: a stack may be moved on the way.
var inMemory any

func TestPollFDs(t *testing.T) {
	set := []unix.PollFd{
		{Fd: 3, Events: unix.POLLIN},
		{Fd: 4, Events: unix.POLLOUT},
		{Fd: -1, Events: unix.POLLIN}, // ignored by poll(2), and no descriptor of anything
		{Fd: 5, Events: unix.POLLIN | unix.POLLPRI, Revents: unix.POLLIN},
	}
	inMemory = &set[0]
	addr := uint64(uintptr(unsafe.Pointer(&set[0])))
	if got := pollFDs(os.Getpid(), addr, uint64(len(set))); !slices.Equal(got, []int{3, -1, 5}) {
		t.Error(got)
	}
	if got := pollFDs(os.Getpid(), addr, 0); got != nil {
		t.Error(got)
	}
	for _, n := range []uint64{1, 1 << 40, 1<<64 - 1} {
		if got := pollFDs(os.Getpid(), 8, n); got != nil {
			t.Errorf("%d at a bad address: %v", n, got)
		}
	}
}

func TestSelectFDs(t *testing.T) {
	var set unix.FdSet
	for _, fd := range []int{0, 7, 63, 64, 200} {
		set.Set(fd)
	}
	inMemory = &set
	addr := uint64(uintptr(unsafe.Pointer(&set)))
	if got := selectFDs(os.Getpid(), addr, 201); !slices.Equal(got, []int{0, 7, 63, 64, 200}) {
		t.Error(got)
	}
	if got := selectFDs(os.Getpid(), addr, 64); !slices.Equal(got, []int{0, 7, 63}) {
		t.Error(got)
	}
	for _, c := range [][2]uint64{{addr, 0}, {0, 64}, {8, 64}, {8, 1<<64 - 1}} {
		if got := selectFDs(os.Getpid(), c[0], c[1]); got != nil {
			t.Errorf("%v: %v", c, got)
		}
	}
}

// TestWaitsOn: epoll sets that wait for connections, and those that only look
// as if they did.
func TestWaitsOn(t *testing.T) {
	inodes := make(map[int]uint64)
	var fds []int
	for range 4 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		fds, inodes[fd] = append(fds, fd), st.Ino
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ep)
	edge := uint32(unix.EPOLLET & 0xffffffff)
	for n, events := range []uint32{
		unix.EPOLLIN,
		unix.EPOLLIN | edge, // nginx's connections, HAProxy's listeners
		unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | edge, // Go's poller: it says nothing
		unix.EPOLLIN | unix.EPOLLEXCLUSIVE,
	} {
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fds[n], &unix.EpollEvent{Events: events}); err != nil {
			t.Fatal(err)
		}
	}
	// This test is a program of Go's, whose poller registers so.
	me := &task{tid: os.Getpid(), proc: &process{pid: os.Getpid()}}
	got := me.waitsOn(waitEpoll, [6]uint64{uint64(ep)})
	if len(got) != 3 || !got[inodes[fds[0]]] || !got[inodes[fds[1]]] || !got[inodes[fds[3]]] {
		t.Errorf("%v of %v", got, inodes)
	}
	if got := me.waitsOn(waitAccept, [6]uint64{uint64(fds[2])}); len(got) != 1 || !got[inodes[fds[2]]] {
		t.Error(got)
	}
	for _, kind := range []waitKind{waitAccept, waitEpoll, waitPoll, waitSelect, waitNone} {
		if got := me.waitsOn(kind, [6]uint64{1 << 30, 8, 64}); len(got) != 0 {
			t.Errorf("%d: %v", kind, got)
		}
	}
}
