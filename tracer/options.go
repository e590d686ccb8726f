package tracer

import (
	"bytes"
	"os"
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

// twinOptions are those of a listening socket that its program can read again, and that
// do not say where it is bound.
var twinOptions = []option{
	{unix.SOL_SOCKET, unix.SO_REUSEADDR},
	{unix.SOL_SOCKET, unix.SO_REUSEPORT},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	{unix.SOL_SOCKET, unix.SO_LINGER},
	{unix.SOL_SOCKET, unix.SO_OOBINLINE},
	{unix.SOL_SOCKET, unix.SO_PRIORITY},
	{unix.SOL_SOCKET, unix.SO_MARK},
	{unix.SOL_SOCKET, unix.SO_SNDBUF},
	{unix.SOL_SOCKET, unix.SO_RCVBUF},
	{unix.SOL_SOCKET, unix.SO_RCVLOWAT},
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO},
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO},
	{unix.SOL_SOCKET, unix.SO_DONTROUTE},
	{unix.SOL_SOCKET, unix.SO_BROADCAST},
	{unix.SOL_SOCKET, unix.SO_DEBUG},
	{unix.SOL_SOCKET, unix.SO_PASSCRED},
	{unix.SOL_SOCKET, unix.SO_PASSSEC},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING},
	{unix.SOL_SOCKET, unix.SO_BUSY_POLL},
	{unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL},
	{unix.SOL_SOCKET, unix.SO_INCOMING_CPU},
	{unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE},
	{unix.SOL_SOCKET, unix.SO_ZEROCOPY},
	{unix.SOL_SOCKET, unix.SO_TXREHASH},
	{unix.SOL_SOCKET, unix.SO_PEEK_OFF},
	{unix.IPPROTO_TCP, unix.TCP_NODELAY},
	{unix.IPPROTO_TCP, unix.TCP_MAXSEG},
	{unix.IPPROTO_TCP, unix.TCP_CORK},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
	{unix.IPPROTO_TCP, unix.TCP_SYNCNT},
	{unix.IPPROTO_TCP, unix.TCP_LINGER2},
	{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
	{unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP},
	{unix.IPPROTO_TCP, unix.TCP_CONGESTION},
	{unix.IPPROTO_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS},
	{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN_NO_COOKIE},
	{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT},
	{unix.IPPROTO_TCP, unix.TCP_SAVE_SYN},
	{unix.IPPROTO_TCP, unix.TCP_TX_DELAY},
	{unix.IPPROTO_TCP, unix.TCP_INQ},
	{unix.IPPROTO_IP, unix.IP_TOS},
	{unix.IPPROTO_IP, unix.IP_TTL},
	{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER},
	{unix.IPPROTO_IP, unix.IP_RECVTOS},
	{unix.IPPROTO_IP, unix.IP_RECVTTL},
	{unix.IPPROTO_IP, unix.IP_PKTINFO},
	{unix.IPPROTO_IP, unix.IP_RECVERR},
	{unix.IPPROTO_IP, unix.IP_MINTTL},
	{unix.IPPROTO_IP, unix.IP_FREEBIND},
	{unix.IPPROTO_IP, unix.IP_TRANSPARENT},
	{unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR},
	{unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT},
	{unix.IPPROTO_IPV6, unix.IPV6_TCLASS},
	{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS},
	{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVERR},
	{unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG},
	{unix.IPPROTO_IPV6, unix.IPV6_FREEBIND},
	{unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVORIGDSTADDR},
	{unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT},
	{unix.IPPROTO_IPV6, unix.IPV6_AUTOFLOWLABEL},
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
		}
	}
	return out
}

// apply gives fd those of the settings in which it differs. What needs a
// privilege that hupt does not have is left as it is.
func (s settings) apply(fd int, options []option) {
	have := readSettings(fd, options)
	for _, o := range options {
		want, ok := s[o]
		if !ok || len(want) == 0 || bytes.Equal(want, have[o]) {
			continue
		}
		if o.level == unix.SOL_SOCKET && (o.name == unix.SO_SNDBUF || o.name == unix.SO_RCVBUF) && len(want) == 4 {
			// What is read is the double of what was asked for (socket(7)).
			unix.SetsockoptInt(fd, o.level, o.name, int(order.Uint32(want)/2))
			continue
		}
		unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(o.level), uintptr(o.name),
			uintptr(unsafe.Pointer(&want[0])), uintptr(len(want)), 0)
	}
}

// standing is what a program can see of a socket, but for its name: what it was like
// before another generation got it.
type standing struct {
	settings settings
	uid, gid uint32 // of the file
	async    bool   // O_ASYNC
	owner    struct{ kind, pid int32 }
	signal   int // that the owner gets (F_SETSIG, fcntl(2)); 0: SIGIO
}

func standingOf(fd int) (s standing, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return s, os.NewSyscallError("fstat", err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return s, os.NewSyscallError("fcntl(F_GETFL)", err)
	}
	s = standing{settings: readSettings(fd, twinOptions), uid: st.Uid, gid: st.Gid, async: flags&unix.O_ASYNC != 0}
	unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETOWN_EX, uintptr(unsafe.Pointer(&s.owner)))
	s.signal, _ = unix.FcntlInt(uintptr(fd), unix.F_GETSIG, 0)
	return s, nil
}

// give gives all of that to another socket, as far as hupt may.
func (s standing) give(fd int) {
	s.settings.apply(fd, twinOptions)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && (st.Uid != s.uid || st.Gid != s.gid) {
		unix.Fchown(fd, int(s.uid), int(s.gid))
	}
	if s.owner.pid != 0 {
		unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&s.owner)))
	}
	if s.signal != 0 {
		unix.FcntlInt(uintptr(fd), unix.F_SETSIG, s.signal)
	}
	if s.async {
		unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_ASYNC)
	}
}
