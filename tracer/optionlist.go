package tracer

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Options that x/sys has no name for (asm-generic/socket.h, linux/in6.h,
// linux/tcp.h).
const (
	soToDevice    = 62 // SO_BINDTOIFINDEX
	soNewTime     = 63 // SO_TIMESTAMP_NEW, the first of five
	soPreferBusy  = 69
	soBusyBudget  = 70
	soBufLock     = 72
	soTxRehash    = 74
	soRcvMark     = 75
	soPassPidFD   = 76
	soRcvPriority = 82
	soPassRights  = 83
	tcpTxDelay    = 37
	ipv6FlowInfo  = 33 // IPV6_FLOWINFO_SEND
)

// sharedOptions are the options of a socket that two generations share which can
// be read and set: whoever serves has his own.
//
// Not among them are those that a bind settled (SO_REUSEPORT, IPV6_V6ONLY), which are
// part of what is handed over.
var sharedOptions = slices.Concat(datagramOptions, []option{
	{unix.SOL_SOCKET, unix.SO_REUSEADDR},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	{unix.SOL_SOCKET, unix.SO_OOBINLINE},
	{unix.SOL_SOCKET, unix.SO_LINGER},
	{unix.SOL_SOCKET, unix.SO_PASSCRED},
	{unix.SOL_SOCKET, unix.SO_PASSSEC},
	{unix.SOL_SOCKET, soPassPidFD},
	{unix.SOL_SOCKET, soPassRights},
	{unix.SOL_SOCKET, unix.SO_DEBUG},
	{unix.SOL_SOCKET, unix.SO_TXTIME},
	{unix.SOL_SOCKET, soPreferBusy},
	{unix.SOL_SOCKET, soBusyBudget},
	{unix.SOL_SOCKET, unix.SO_RCVLOWAT},
	{unix.SOL_SOCKET, unix.SO_BINDTODEVICE},
	{unix.SOL_SOCKET, unix.SO_MARK},
	{unix.SOL_SOCKET, unix.SO_PEEK_OFF},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING},
	{unix.SOL_SOCKET, unix.SO_WIFI_STATUS},
	{unix.SOL_SOCKET, unix.SO_SELECT_ERR_QUEUE},
	{unix.SOL_SOCKET, unix.SO_BUSY_POLL},
	{unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE},
	{unix.SOL_SOCKET, unix.SO_ZEROCOPY},
	{unix.SOL_SOCKET, soRcvMark},
	{unix.SOL_SOCKET, soRcvPriority},
	{unix.IPPROTO_TCP, unix.TCP_MAXSEG},
	{unix.IPPROTO_TCP, unix.TCP_NODELAY},
	{unix.IPPROTO_TCP, unix.TCP_CORK},
	{unix.IPPROTO_TCP, unix.TCP_QUICKACK},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
	{unix.IPPROTO_TCP, unix.TCP_SYNCNT},
	{unix.IPPROTO_TCP, unix.TCP_LINGER2},
	{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
	{unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP},
	{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT},
	{unix.IPPROTO_TCP, unix.TCP_CONGESTION},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN_KEY},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN_NO_COOKIE},
	{unix.IPPROTO_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS},
	{unix.IPPROTO_TCP, unix.TCP_SAVE_SYN},
	{unix.IPPROTO_TCP, unix.TCP_INQ},
	{unix.IPPROTO_TCP, tcpTxDelay},
	{unix.IPPROTO_IP, unix.IP_OPTIONS},
	{unix.IPPROTO_IP, unix.IP_MINTTL},
	{unix.IPPROTO_IP, unix.IP_FREEBIND},
	{unix.IPPROTO_IP, unix.IP_TRANSPARENT},
	{unix.IPPROTO_IP, unix.IP_RECVOPTS},
	{unix.IPPROTO_IP, unix.IP_RETOPTS},
	{unix.IPPROTO_IP, unix.IP_PASSSEC},
	{unix.IPPROTO_IP, unix.IP_UNICAST_IF},
	{unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT},
	{unix.IPPROTO_IP, unix.IP_RECVERR_RFC4884},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_ALL},
	{unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE},
	{unix.IPPROTO_IPV6, unix.IPV6_FREEBIND},
	{unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT},
	{unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT},
	{unix.IPPROTO_IPV6, unix.IPV6_AUTOFLOWLABEL},
	{unix.IPPROTO_IPV6, ipv6FlowInfo},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPOPTS},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVDSTOPTS},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVRTHDR},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVPATHMTU},
	{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_IF},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVERR_RFC4884},
	{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL},
	// A buffer that somebody set does not grow by itself (SO_BUF_LOCK, Linux 5.14),
	// and to set the size sets that, too.
	{unix.SOL_SOCKET, soBufLock},
})

var toDevice = option{unix.SOL_SOCKET, unix.SO_BINDTODEVICE}

// isShared holds sharedOptions.
var isShared = func() map[option]bool {
	m := make(map[option]bool)
	for _, o := range sharedOptions {
		m[o] = true
	}
	return m
}()

// alsoSet are further names of what sharedOptions reads.
var alsoSet = map[option]bool{
	{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE}: true,
	{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE}: true,
	{unix.SOL_SOCKET, soToDevice}:          true,
	{unix.SOL_SOCKET, soNewTime}:           true, // SO_TIMESTAMP_NEW
	{unix.SOL_SOCKET, soNewTime + 1}:       true, // SO_TIMESTAMPNS_NEW
	{unix.SOL_SOCKET, soNewTime + 2}:       true, // SO_TIMESTAMPING_NEW
	{unix.SOL_SOCKET, soNewTime + 3}:       true, // SO_RCVTIMEO_NEW
	{unix.SOL_SOCKET, soNewTime + 4}:       true, // SO_SNDTIMEO_NEW
}

// undoneBy says which call on multicast groups takes another one back. They can't
// be read from a socket.
var undoneBy = map[option]int{
	{unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP}:         unix.IP_DROP_MEMBERSHIP,
	{unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP}:        unix.IP_ADD_MEMBERSHIP,
	{unix.IPPROTO_IP, unix.IP_ADD_SOURCE_MEMBERSHIP}:  unix.IP_DROP_SOURCE_MEMBERSHIP,
	{unix.IPPROTO_IP, unix.IP_DROP_SOURCE_MEMBERSHIP}: unix.IP_ADD_SOURCE_MEMBERSHIP,
	{unix.IPPROTO_IP, unix.IP_BLOCK_SOURCE}:           unix.IP_UNBLOCK_SOURCE,
	{unix.IPPROTO_IP, unix.IP_UNBLOCK_SOURCE}:         unix.IP_BLOCK_SOURCE,
	{unix.IPPROTO_IP, mcastJoinGroup}:                 mcastLeaveGroup,
	{unix.IPPROTO_IP, mcastLeaveGroup}:                mcastJoinGroup,
	{unix.IPPROTO_IP, mcastJoinSource}:                mcastLeaveSource,
	{unix.IPPROTO_IP, mcastLeaveSource}:               mcastJoinSource,
	{unix.IPPROTO_IP, mcastBlock}:                     mcastUnblock,
	{unix.IPPROTO_IP, mcastUnblock}:                   mcastBlock,
	{unix.IPPROTO_IPV6, mcastBlock}:                   mcastUnblock,
	{unix.IPPROTO_IPV6, mcastUnblock}:                 mcastBlock,
	{unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP}:         unix.IPV6_LEAVE_GROUP,
	{unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP}:        unix.IPV6_JOIN_GROUP,
	{unix.IPPROTO_IPV6, mcastJoinGroup}:               mcastLeaveGroup,
	{unix.IPPROTO_IPV6, mcastLeaveGroup}:              mcastJoinGroup,
	{unix.IPPROTO_IPV6, mcastJoinSource}:              mcastLeaveSource,
	{unix.IPPROTO_IPV6, mcastLeaveSource}:             mcastJoinSource,
}

// The same for both levels (linux/in.h).
const (
	mcastJoinGroup   = 42
	mcastBlock       = 43
	mcastUnblock     = 44
	mcastLeaveGroup  = 45
	mcastJoinSource  = 46
	mcastLeaveSource = 47
)

// replayed reports whether a setsockopt can only be made again: what it sets can't
// be read, or is not what is read (SO_INCOMING_CPU is that of the last packet, too).
func (o option) replayed() bool {
	_, multicast := undoneBy[o]
	return multicast || setOnly[o]
}

var setOnly = map[option]bool{
	{unix.IPPROTO_TCP, unix.TCP_MD5SIG}:     true,
	{unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT}: true,
	{unix.SOL_SOCKET, unix.SO_INCOMING_CPU}: true,
	{unix.SOL_SOCKET, soTxRehash}:           true,
	{unix.IPPROTO_IP, unix.IP_MSFILTER}:     true,
}
