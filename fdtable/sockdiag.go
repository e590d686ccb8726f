package fdtable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// TCP states as sock_diag numbers them (include/net/tcp_states.h). Unix sockets
// have these three only.
const (
	StateEstablished = 1
	StateClose       = 7
	StateListen      = 10
)

// Masks of states for Dump. Sockets of a program that were accepted are in any
// state but LISTEN, SYN_RECV and TIME_WAIT, which no descriptor refers to.
const (
	Listening = 1 << StateListen
	Connected = 0xfff &^ (1<<StateListen | 1<<3 | 1<<6 | 1<<12)
	HalfOpen  = 1<<3 | 1<<12 // handshakes; the kernel calls them SYN_RECV and NEW_SYN_RECV
)

// Socket is a TCP or a Unix socket as the kernel tells it.
type Socket struct {
	Family  uint8 // AF_INET, AF_INET6 or AF_UNIX
	Type    uint8 // SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM
	State   uint8
	Local   netip.AddrPort
	Remote  netip.AddrPort
	Path    string // of a Unix socket: its name as it was bound; an abstract one begins with a NUL
	File    FileID // of a Unix socket that is bound to a path
	Peer    uint64 // of a Unix socket: the inode of the other end
	Inode   uint64 // 0: no descriptor refers to it (yet, or any more)
	Queue   int    // of a listening socket: connections that wait for accept()
	Backlog int    // of a listening socket: how many may wait
	Flow           // of a connection; without DumpFlows, only Unread and Unsent
	Device  uint32 // of an internet socket: the index of the interface that it is bound to, if any
}

// Receives reports whether the socket takes what strangers send to its address:
// it listens, or it is a bound datagram socket without a peer. (Of a Unix one,
// the kernel's state says nothing: whoever connects to it makes
// it ESTABLISHED.) One whose name the kernel chose is known to none.
func (s Socket) Receives() bool {
	if s.Family != unix.AF_UNIX {
		return s.State == StateListen || s.Type == unix.SOCK_DGRAM && s.State == StateClose && s.Local.Port() != 0
	}
	return !Autobound(s.Path) && (s.State == StateListen || s.Type == unix.SOCK_DGRAM && s.Path != "" && s.Peer == 0)
}

// Autobound reports whether a Unix socket's name is one that the kernel chose
// (unix(7), autobind): five hexadecimal digits. The next time, it chooses another.
func Autobound(path string) bool { return autobound.MatchString(path) }

var autobound = regexp.MustCompile(`^\x00[0-9a-f]{5}$`)

// The library finds the byte order out at its first use, without a lock.
var _ = nl.NativeEndian()

// diagRequest asks for the sockets of one protocol. Of TCP's, those of both
// families come in one pass of the kernel's tables, which have hundreds of
// thousands of places and, on a busy machine, tens of thousands of connections
// that are long over: that takes the older of the two requests (struct
// inet_diag_req, linux/inet_diag.h), for the newer wants one family.
type diagRequest struct {
	family   uint8 // 0: both, for TCP
	protocol uint8 // IPPROTO_TCP or IPPROTO_UDP
	states   uint32
	sport    uint16
	ext      uint8 // a bit for each attribute that is asked for, INET_DIAG_… - 1
}

const (
	getTCP           = 18 // TCPDIAG_GETSOCK, linux/inet_diag.h
	diagRequestLen   = 56 // struct inet_diag_req_v2
	getTCPRequestLen = 60 // struct inet_diag_req
)

func (r diagRequest) both() bool { return r.family == unix.AF_UNSPEC }

// Kind is the type of the netlink message that carries the request.
func (r diagRequest) Kind() int {
	if r.both() {
		return getTCP
	}
	return nl.SOCK_DIAG_BY_FAMILY
}

func (r diagRequest) Len() int {
	if r.both() {
		return getTCPRequestLen
	}
	return diagRequestLen
}

func (r diagRequest) Serialize() []byte {
	b := make([]byte, r.Len())
	id, states := b[8:], b[4:]
	if r.both() {
		b[3] = r.ext
		id, states = b[4:], b[52:]
	} else {
		b[0], b[1], b[2] = r.family, r.protocol, r.ext
	}
	binary.NativeEndian.PutUint32(states, r.states)
	binary.BigEndian.PutUint16(id, r.sport)
	binary.NativeEndian.PutUint64(id[40:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	return b
}

// Dump lists the TCP sockets of the caller's network namespace in the given
// states, of both families; port 0 means any local port. sock_diag(7).
func Dump(states uint32, port uint16) ([]Socket, error) {
	return dumpInternet(diagRequest{protocol: unix.IPPROTO_TCP, states: states, sport: port})
}

// DumpFlows is Dump with the whole Flow of each connection, which costs about
// as much again.
func DumpFlows(states uint32, port uint16) ([]Socket, error) {
	return dumpInternet(diagRequest{protocol: unix.IPPROTO_TCP, states: states, sport: port, ext: 1 << (inetDiagInfo - 1)})
}

const inetDiagInfo = 2 // INET_DIAG_INFO, linux/inet_diag.h

// Datagrams is the states that UDP sockets are in, for DumpUDP: StateClose
// without a peer, StateEstablished with one.
const Datagrams = 1<<StateClose | 1<<StateEstablished

// DumpUDP is Dump for UDP. A kernel without udp_diag has none to list.
func DumpUDP(states uint32, port uint16) ([]Socket, error) {
	out, err := dumpInternet(diagRequest{protocol: unix.IPPROTO_UDP, states: states, sport: port})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	for i := range out {
		out[i].Type = unix.SOCK_DGRAM
	}
	return out, err
}

func dumpInternet(r diagRequest) ([]Socket, error) {
	families := []uint8{unix.AF_UNSPEC}
	if r.protocol != unix.IPPROTO_TCP {
		families = []uint8{unix.AF_INET, unix.AF_INET6}
	}
	var out []Socket
	for _, family := range families {
		r.family = family
		got, err := dump(r, parseSocket)
		switch {
		case err == nil:
			out = append(out, got...)
		case family == unix.AF_INET6 && errors.Is(err, unix.ENOENT): // a kernel without IPv6
		default:
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
	}
	return out, nil
}

// DumpAll lists the TCP and the Unix sockets of the caller's network namespace
// in the given states.
func DumpAll(states uint32) ([]Socket, error) {
	out, err := Dump(states, 0)
	if err != nil {
		return nil, err
	}
	local, err := DumpUnix(states)
	return append(out, local...), err
}

// dumpRequest is what a netlink message to sock_diag holds, and its type.
type dumpRequest interface {
	nl.NetlinkRequestData
	Kind() int
}

// dump asks again if the kernel says that the list changed under its
// hands: half a list must not pass for the whole.
func dump(request dumpRequest, parse func([]byte) (Socket, bool)) (out []Socket, err error) {
	const attempts = 5
	for range attempts {
		out = nil
		req := nl.NewNetlinkRequest(request.Kind(), unix.NLM_F_DUMP)
		req.AddData(request)
		err = req.ExecuteIter(unix.NETLINK_INET_DIAG, 0, func(b []byte) bool {
			if s, ok := parse(b); ok {
				out = append(out, s)
			}
			return true
		})
		if !errors.Is(err, nl.ErrDumpInterrupted) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return out, err
}

// parseSocket reads struct inet_diag_msg (linux/inet_diag.h).
func parseSocket(b []byte) (Socket, bool) {
	if len(b) < 72 {
		return Socket{}, false
	}
	s := Socket{Family: b[0], Type: unix.SOCK_STREAM, State: b[1]}
	addr := func(b []byte) netip.Addr {
		if s.Family == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		return netip.AddrFrom16([16]byte(b[:16]))
	}
	s.Local = netip.AddrPortFrom(addr(b[8:]), binary.BigEndian.Uint16(b[4:]))
	s.Remote = netip.AddrPortFrom(addr(b[24:]), binary.BigEndian.Uint16(b[6:]))
	s.Device = binary.NativeEndian.Uint32(b[40:])
	rq, wq := int(binary.NativeEndian.Uint32(b[56:])), int(binary.NativeEndian.Uint32(b[60:]))
	if s.State == StateListen {
		s.Queue, s.Backlog = rq, wq
	} else {
		s.Unread, s.Unsent = rq, wq
	}
	s.Inode = uint64(binary.NativeEndian.Uint32(b[68:]))
	if s.State != StateListen {
		s.parseAttributes(b[72:])
	}
	return s, true
}

// parseAttributes reads what was asked for beside (struct rtattr, rtnetlink(7)).
func (s *Socket) parseAttributes(b []byte) {
	for len(b) >= 4 {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < 4 || n > len(b) {
			return
		}
		if kind == inetDiagInfo {
			s.parseInfo(b[4:n])
		}
		b = b[min((n+3)&^3, len(b)):]
	}
}
