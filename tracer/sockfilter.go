package tracer

import (
	"bytes"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ofFilter is the options by which a filter is put on a socket. SO_GET_FILTER has the
// number of SO_ATTACH_FILTER. SO_LOCK_FILTER is for good.
var ofFilter = map[option]bool{
	{unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}: true,
	{unix.SOL_SOCKET, unix.SO_ATTACH_BPF}:    true,
	{unix.SOL_SOCKET, unix.SO_DETACH_FILTER}: true,
	{unix.SOL_SOCKET, unix.SO_LOCK_FILTER}:   true,
}

// filter is what is attached to a socket: a classic one, which can be read by
// whoever has the socket; one that can't be read, of which hupt has a descriptor if
// known; or none.
type filter struct {
	program []byte // an array of struct sock_filter
	hidden  bool
	bpf     int // hupt's descriptor, or -1
	locked  bool
}

const sockFilterLen = 8

// filterOf reads it. bpf is the program that is attached if it can't be read.
func filterOf(fd, bpf int) (f filter) {
	f.bpf = bpf
	locked, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER)
	f.locked = err == nil && locked != 0
	n := uint32(0) // of instructions
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_GET_FILTER, 0, uintptr(unsafe.Pointer(&n)), 0)
	f.hidden = e == unix.EACCES
	if e != 0 || n == 0 {
		return f
	}
	b := make([]byte, sockFilterLen*int(n))
	_, _, e = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_GET_FILTER,
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)), 0)
	if e == 0 {
		f.program = b
	}
	return f
}

// attach gives fd that filter. spare: one of fd's that can't be read, which could not be
// given back, is only replaced by another one.
func (f filter) attach(fd int, spare bool) {
	have := filterOf(fd, -1)
	switch {
	case f.hidden && f.bpf >= 0:
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, f.bpf)
	case f.hidden || have.hidden && spare && len(f.program) == 0:
	case !have.hidden && bytes.Equal(have.program, f.program):
	case len(f.program) == 0:
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	default:
		p := unix.SockFprog{Len: uint16(len(f.program) / sockFilterLen), Filter: (*unix.SockFilter)(unsafe.Pointer(&f.program[0]))}
		_, _, _ = unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			uintptr(unsafe.Pointer(&p)), unsafe.Sizeof(p), 0)
		runtime.KeepAlive(f.program)
	}
	if f.locked && !have.locked {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1)
	}
}
