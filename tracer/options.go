package tracer

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// option is a socket option whose value can be read from one socket and given
// to another.
type option struct{ level, name int }

// Options that x/sys has no name for (linux/udp.h, linux/in6.h).
const (
	udpNoCheck6Tx = 101
	udpNoCheck6Rx = 102
	udpSegment    = 103
	udpGRO        = 104
)

// bindOptions say where a socket may be bound.
var bindOptions = []option{
	{unix.SOL_SOCKET, unix.SO_REUSEADDR},
	{unix.SOL_SOCKET, unix.SO_BINDTODEVICE},
	{unix.SOL_SOCKET, unix.SO_MARK},
	{unix.IPPROTO_IP, unix.IP_FREEBIND},
	{unix.IPPROTO_IP, unix.IP_TRANSPARENT},
	{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY},
	{unix.IPPROTO_IPV6, unix.IPV6_FREEBIND},
	{unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT},
}

// datagramOptions are those of a datagram socket that change what its program
// sends and receives.
var datagramOptions = []option{
	{unix.SOL_SOCKET, unix.SO_BROADCAST},
	{unix.SOL_SOCKET, unix.SO_PRIORITY},
	{unix.SOL_SOCKET, unix.SO_SNDBUF},
	{unix.SOL_SOCKET, unix.SO_RCVBUF},
	{unix.SOL_SOCKET, unix.SO_DONTROUTE},
	{unix.SOL_SOCKET, unix.SO_NO_CHECK},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS},
	{unix.SOL_SOCKET, unix.SO_RXQ_OVFL},
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO},
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO},
	{unix.IPPROTO_IP, unix.IP_TOS},
	{unix.IPPROTO_IP, unix.IP_TTL},
	{unix.IPPROTO_IP, unix.IP_PKTINFO},
	{unix.IPPROTO_IP, unix.IP_RECVTTL},
	{unix.IPPROTO_IP, unix.IP_RECVTOS},
	{unix.IPPROTO_IP, unix.IP_RECVERR},
	{unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR},
	{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_IF},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP},
	{unix.IPPROTO_IPV6, unix.IPV6_TCLASS},
	{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVERR},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVORIGDSTADDR},
	{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER},
	{unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG},
	{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF},
	{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS},
	{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP},
	{unix.IPPROTO_UDP, udpNoCheck6Tx},
	{unix.IPPROTO_UDP, udpNoCheck6Rx},
	{unix.IPPROTO_UDP, udpSegment},
	{unix.IPPROTO_UDP, udpGRO},
}

// settings are values of options, of those that the socket has.
type settings map[option][]byte

func readSettings(fd int, options []option) settings {
	out := make(settings)
	for _, o := range options {
		b := make([]byte, 64)
		n := uint32(len(b))
		if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(o.level), uintptr(o.name),
			uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)), 0); e == 0 && int(n) <= len(b) {
			out[o] = b[:n]
			if (o == option{unix.SOL_SOCKET, unix.SO_LINGER}) && isZero(b[:4]) {
				clear(b) // the time-out of one that is off stays, and means nothing
			}
		}
	}
	return out
}

// apply gives fd those of the settings in which it differs. What needs a
// privilege that hupt does not have is left as it is.
func (s settings) apply(fd int, options []option) {
	// Some set others along: IP_TOS the priority, a time stamp its other kind, the size of
	// a buffer that it is to stay so.
	for range 3 {
		have, done := readSettings(fd, options), true
		for _, off := range []bool{true, false} {
			for _, o := range options {
				want, ok := s[o]
				now, has := have[o]
				if !ok || !has || off != isZero(want) || bytes.Equal(want, now) {
					continue
				}
				done = false
				o.set(fd, want)
			}
		}
		if done {
			return
		}
	}
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// set gives fd a value as it was read.
func (o option) set(fd int, v []byte) {
	n := 0
	if len(v) == 4 {
		n = int(int32(order.Uint32(v)))
	}
	switch o {
	case option{unix.SOL_SOCKET, unix.SO_SNDBUF}:
		setBuffer(fd, o.name, unix.SO_SNDBUFFORCE, n)
		return
	case option{unix.SOL_SOCKET, unix.SO_RCVBUF}:
		setBuffer(fd, o.name, unix.SO_RCVBUFFORCE, n)
		return
	case option{unix.IPPROTO_TCP, unix.TCP_MAXSEG}:
		if n == 536 { // what is read where none is set (TCP_MSS_DEFAULT)
			v = make([]byte, 4)
		}
	case option{unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP}:
		if n == 0 { // which a socket that listens refuses: as good as none
			v = order.AppendUint32(nil, 1<<30)
		}
	}
	setOption(fd, o, v)
}

// setBuffer: what is read is the double of what was asked for (socket(7)).
func setBuffer(fd, name, force, size int) {
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, name, size/2)
	if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, name); err == nil && got < size {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size/2)
	}
}

func setOption(fd int, o option, v []byte) error {
	var p unsafe.Pointer
	if len(v) > 0 {
		p = unsafe.Pointer(&v[0])
	}
	_, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(o.level), uintptr(o.name), uintptr(p), uintptr(len(v)), 0)
	if e != 0 {
		return e
	}
	return nil
}
