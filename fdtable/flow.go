package fdtable

import (
	"encoding/binary"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flow is how far a TCP connection's two directions are, as the kernel counts
// them (struct tcp_info, linux/tcp.h).
type Flow struct {
	Received uint64 // bytes from the client
	Acked    uint64 // bytes to the client that it acknowledged, give or take the SYN
	Unread   int    // bytes received that the program did not read
	Unsent   int    // bytes written that the client did not acknowledge
	Segments uint32 // sent with data in them
	Requests uint32 // segments received with data in them

	// Since the last segment with data, in the kernel's ticks (1 to 10 ms); since
	// the connection was made, if there was none. SinceAck: since the last one of any kind
	// came.
	SinceSent, SinceReceived, SinceAck time.Duration
}

// Written is the position in what the program writes: it grows by the bytes
// of each write.
func (f Flow) Written() uint64 { return f.Acked + uint64(f.Unsent) }

// Consumed is the position in what the client sends up to which the program has
// read.
func (f Flow) Consumed() uint64 { return f.Received - uint64(f.Unread) }

// Silent is how long nothing has come or gone.
func (f Flow) Silent() time.Duration { return min(f.SinceSent, f.SinceReceived) }

// Speaker is who said the last word on a connection.
type Speaker int

// Of two words within one tick of the kernel's clock, the later is not always
// known.
const (
	Nobody Speaker = iota
	Server
	Client
	EitherOne
)

// LastWord is who sent the last data.
func (f Flow) LastWord() Speaker {
	switch {
	case f.Unread > 0:
		return Client
	case f.Segments == 0 && f.Received == 0:
		return Nobody
	case f.Segments == 0 || f.SinceReceived < f.SinceSent:
		return Client
	case f.Received == 0 || f.SinceReceived > f.SinceSent:
		return Server
	// In one tick. A client that acknowledged later, and sent nothing with it, did
	// so for what the server sent; and the first request comes before the first
	// response.
	case f.SinceAck < f.SinceReceived, f.Requests == 1:
		return Server
	}
	return EitherOne
}

const tcpInfoLen = 160 // up to tcpi_data_segs_out, Linux 4.6

// parseInfo reads struct tcp_info.
func (f *Flow) parseInfo(b []byte) bool {
	if len(b) < tcpInfoLen {
		return false
	}
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	f.SinceSent = time.Duration(word(44)) * time.Millisecond
	f.SinceReceived = time.Duration(word(52)) * time.Millisecond
	f.Acked = binary.NativeEndian.Uint64(b[120:])
	f.Received = binary.NativeEndian.Uint64(b[128:])
	f.SinceAck = time.Duration(word(56)) * time.Millisecond
	f.Requests, f.Segments = word(152), word(156)
	return true
}

// FlowOf asks the socket fd of the caller itself.
func FlowOf(fd int) (f Flow, err error) {
	if err = f.askInfo(fd); err != nil {
		return f, err
	}
	if f.Unread, err = unix.IoctlGetInt(fd, unix.SIOCINQ); err != nil {
		return f, os.NewSyscallError("ioctl(SIOCINQ)", err)
	}
	for range 16 {
		acked := f.Acked
		if f.Unsent, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ); err != nil {
			return f, os.NewSyscallError("ioctl(SIOCOUTQ)", err)
		}
		if err = f.askInfo(fd); err != nil || f.Acked == acked {
			return f, err // else what was acknowledged meanwhile would count twice, or not at all
		}
	}
	return f, os.NewSyscallError("getsockopt(TCP_INFO)", unix.EAGAIN)
}

func (f *Flow) askInfo(fd int) error {
	var b [tcpInfoLen]byte
	n := uint32(len(b))
	if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)), 0); e != 0 {
		return os.NewSyscallError("getsockopt(TCP_INFO)", e)
	}
	if !f.parseInfo(b[:n]) {
		return os.NewSyscallError("getsockopt(TCP_INFO)", unix.ENOTSUP)
	}
	return nil
}
