package tracer

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// Name is what a socket is, and where it is bound: what a bind must ask for to
// get a held socket.
type Name struct {
	Family   int // AF_INET, AF_INET6 or AF_UNIX
	Type     int // SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM
	Protocol int
	V6Only   bool
	Address  netip.AddrPort // of an internet socket

	// Path is a Unix socket's name as it was bound: a path, or an abstract name
	// behind a NUL (unix(7)). A path says little by itself: it may be relative,
	// and the file may have been renamed since.
	Path string
	// File is the file of a Unix socket with a path, if sock_diag told it.
	File fdtable.FileID
	// NetNS is the cookie of the socket's network namespace (SO_NETNS_COOKIE,
	// Linux 5.14; 0: not known), to which addresses and abstract names belong.
	NetNS uint64
}

// Network is the name's network as Go's net package calls it.
func (n Name) Network() string {
	switch {
	case n.Family == unix.AF_UNIX && n.Type == unix.SOCK_SEQPACKET:
		return "unixpacket"
	case n.Family == unix.AF_UNIX && n.Type == unix.SOCK_DGRAM:
		return "unixgram"
	case n.Family == unix.AF_UNIX:
		return "unix"
	}
	network := "tcp"
	if n.Datagram() {
		network = "udp"
	}
	if n.Family == unix.AF_INET6 {
		return network + "6"
	}
	return network + "4"
}

// Text is where the socket is bound, in words: "127.0.0.1:80", "/run/app.sock";
// an abstract name is written with an @ for each NUL, as ss(8) does.
func (n Name) Text() string {
	if n.Family == unix.AF_UNIX {
		return strings.ReplaceAll(n.Path, "\x00", "@")
	}
	return n.Address.String()
}

func (n Name) String() string { return n.Network() + " " + n.Text() }

// Datagram reports whether it is a socket that never listens: it is bound, and
// has no connections.
func (n Name) Datagram() bool { return n.Type == unix.SOCK_DGRAM }

// udp reports whether it is a datagram socket of the internet.
func (n Name) udp() bool { return n.Datagram() && n.Family != unix.AF_UNIX }

// hasFile reports whether it is a Unix socket that is bound to a path.
func (n Name) hasFile() bool {
	return n.Family == unix.AF_UNIX && n.Path != "" && n.Path[0] != 0
}

// Accepts reports whether a connection whose local end is c may have come in by
// a socket of name n.
func (n Name) Accepts(c Name) bool {
	if n.Datagram() || n.Type != c.Type {
		return false
	}
	if n.Family == unix.AF_UNIX || c.Family == unix.AF_UNIX {
		// The accepted end has the listener's name and file. One of the files
		// may not be known.
		none := fdtable.FileID{}
		return n.Family == c.Family && n.Path != "" && n.Path == c.Path && (n.File == c.File || n.File == none || c.File == none)
	}
	a, b := n.Address, c.Address
	return a.Port() == b.Port() && (a.Addr().IsUnspecified() || a.Addr().Unmap() == b.Addr().Unmap())
}

// NameOf is the name of a socket that sock_diag told of.
func NameOf(s fdtable.Socket) Name {
	return Name{Family: int(s.Family), Type: int(s.Type), Address: s.Local, Path: s.Path, File: s.File}
}

// handed reports whether family is one whose sockets are handed over.
func handed(family int) bool {
	return family == unix.AF_INET || family == unix.AF_INET6 || family == unix.AF_UNIX
}

// kindOf reads the kind of socket that hupt's descriptor fd is; its address is
// left to the caller.
func kindOf(fd int) (Name, error) {
	var n Name
	var err error
	for _, o := range []struct {
		opt int
		v   *int
	}{{unix.SO_DOMAIN, &n.Family}, {unix.SO_TYPE, &n.Type}, {unix.SO_PROTOCOL, &n.Protocol}} {
		if *o.v, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, o.opt); err != nil {
			return n, os.NewSyscallError("getsockopt", err)
		}
	}
	// Older kernels can't tell; then all are taken to be in one namespace.
	n.NetNS, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	// Multipath TCP serves TCP clients as it is, and is what Go's listeners are
	// since 1.24: a program built by another toolchain means the same port.
	if n.Protocol == unix.IPPROTO_MPTCP {
		n.Protocol = unix.IPPROTO_TCP
	}
	// For a Unix socket it says nothing: 0 and PF_UNIX are the same.
	if n.Family == unix.AF_UNIX {
		n.Protocol = 0
	}
	if n.Family == unix.AF_INET6 {
		v, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		if err != nil {
			return n, os.NewSyscallError("getsockopt(IPV6_V6ONLY)", err)
		}
		n.V6Only = v != 0
	}
	return n, nil
}

// nameOf is the kind and the address of hupt's descriptor fd.
func nameOf(fd int) (Name, error) {
	n, err := kindOf(fd)
	if err != nil {
		return n, err
	}
	b, err := sockname(fd)
	if err != nil {
		return n, err
	}
	if at, ok := parseSockaddr(b); ok {
		n.Address, n.Path = at.Address, at.Path
	}
	return n, nil
}

// sockname is the address that descriptor fd is bound to, as the kernel gives
// it: the wrapper of x/sys cuts abstract names at a NUL.
func sockname(fd int) ([]byte, error) {
	b := make([]byte, unix.SizeofSockaddrAny)
	n := uint32(len(b))
	_, _, e := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return nil, os.NewSyscallError("getsockname", e)
	}
	return b[:min(int(n), len(b))], nil
}

// sockaddrMax is the size of the longest address that is understood: struct
// sockaddr_un.
const sockaddrMax = unix.SizeofSockaddrUnix

// sockaddrStorage is the size of struct sockaddr_storage, beyond which the kernel
// looks at no address.
const sockaddrStorage = 128

// parseBind is parseSockaddr for bind(2), which was told that the address has that
// length, of which b has what can be understood. The kernel takes none that is longer
// than a sockaddr_storage, nor a path's than a sockaddr_un; and AF_UNSPEC with
// INADDR_ANY for AF_INET ("compatibility games" in its af_inet.c).
func parseBind(b []byte, length int) (n Name, ok bool) {
	if length < 0 || length > sockaddrStorage {
		return n, false
	}
	n, ok = parseSockaddr(b)
	switch {
	case n.Family == unix.AF_UNIX && length > unix.SizeofSockaddrUnix:
		return n, false
	case n.Family == unix.AF_UNSPEC && len(b) >= unix.SizeofSockaddrInet4 && [4]byte(b[4:8]) == [4]byte{}:
		n.Family = unix.AF_INET
		n.Address = netip.AddrPortFrom(netip.IPv4Unspecified(), binary.BigEndian.Uint16(b[2:]))
		return n, true
	}
	return n, ok
}

// parseSockaddr reads the address that a bind was given: struct sockaddr_in,
// sockaddr_in6 or sockaddr_un (ip(7), ipv6(7), unix(7)). A link-local scope is
// not part of it: two held sockets that differ in it alone are taken in order.
// It is not ok for what it can't tell, a Unix name left to the kernel included.
// Family is set if there is one.
func parseSockaddr(b []byte) (n Name, ok bool) {
	if len(b) < 2 {
		return n, false
	}
	n.Family = int(binary.NativeEndian.Uint16(b))
	switch {
	case n.Family == unix.AF_INET && len(b) >= unix.SizeofSockaddrInet4:
		n.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:]))
		return n, true
	case n.Family == unix.AF_INET6 && len(b) >= 24:
		n.Address = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(b[2:]))
		return n, true
	case n.Family == unix.AF_UNIX:
		n.Path = fdtable.UnixPath(b[2:])
		return n, n.Path != ""
	}
	return n, false
}
