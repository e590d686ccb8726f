package tracer

import (
	"os"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestTake(t *testing.T) {
	s := &short{rest: []segment{{100, 5}, {200, 0}, {300, 7}}}
	for _, step := range []struct {
		n    int64
		rest []segment
		done int64
	}{
		{0, []segment{{100, 5}, {200, 0}, {300, 7}}, 0},
		{2, []segment{{102, 3}, {200, 0}, {300, 7}}, 2},
		{4, []segment{{301, 6}}, 6}, // over the end of one and all of an empty one
		{6, nil, 12},
	} {
		s.take(step.n)
		if !slices.Equal(s.rest, step.rest) || s.done != step.done {
			t.Errorf("after %d more: rest %v, done %d; want %v, %d", step.n, s.rest, s.done, step.rest, step.done)
		}
	}
	if s.total() != 0 {
		t.Errorf("%d bytes are left", s.total())
	}
}

// transferred has an address that stays, unlike a variable on a stack.
var transferred struct {
	data [30]byte
	iov  [3]unix.Iovec
	msg  unix.Msghdr
}

// TestTransfers: which calls transfer all that they are given, and what that is.
func TestTransfers(t *testing.T) {
	data, iov, msg := &transferred.data, &transferred.iov, &transferred.msg
	at := func(n int) uint64 { return uint64(uintptr(unsafe.Pointer(&data[n]))) }
	*iov = [3]unix.Iovec{{Base: &data[0], Len: 10}, {Base: &data[10]}, {Base: &data[12], Len: 18}}
	*msg = unix.Msghdr{Iov: &iov[0], Iovlen: uint64(len(iov))}
	iovAt, msgAt := uint64(uintptr(unsafe.Pointer(iov))), uint64(uintptr(unsafe.Pointer(msg)))
	for _, c := range []struct {
		name string
		nr   int
		args [6]uint64
		call int // that goes on with it; 0: none does
		n    uint64
		rest int // segments that are not empty
	}{
		{"write", unix.SYS_WRITE, [6]uint64{3, at(0), 30}, unix.SYS_WRITE, 30, 1},
		{"writev", unix.SYS_WRITEV, [6]uint64{3, iovAt, 3}, unix.SYS_WRITE, 28, 2},
		{"send", unix.SYS_SENDTO, [6]uint64{3, at(0), 30, unix.MSG_NOSIGNAL}, unix.SYS_SENDTO, 30, 1},
		{"send that does not wait", unix.SYS_SENDTO, [6]uint64{3, at(0), 30, unix.MSG_DONTWAIT}, 0, 0, 0},
		{"sendmsg", unix.SYS_SENDMSG, [6]uint64{3, msgAt, 0}, unix.SYS_SENDTO, 28, 2},
		{"sendmsg of nothing that is there", unix.SYS_SENDMSG, [6]uint64{3, 8, 0}, 0, 0, 0},
		{"sendfile", unix.SYS_SENDFILE, [6]uint64{3, 4, 0, 1000}, unix.SYS_SENDFILE, 1000, 1},
		{"recv", unix.SYS_RECVFROM, [6]uint64{3, at(0), 30}, 0, 0, 0},
		{"recv of all", unix.SYS_RECVFROM, [6]uint64{3, at(0), 30, unix.MSG_WAITALL}, unix.SYS_RECVFROM, 30, 1},
		{"read", unix.SYS_READ, [6]uint64{3, at(0), 30}, 0, 0, 0},
	} {
		s, ok := transferOf(os.Getpid(), c.nr, c.args)
		if ok != (c.call != 0) || ok && (s.call != c.call || s.fd != 3 || s.total() != c.n || len(s.rest) != c.rest) {
			t.Errorf("%s: %+v, %v", c.name, s, ok)
		}
	}
}
