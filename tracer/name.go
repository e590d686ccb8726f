package tracer

import (
	"encoding/binary"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// inet reports whether family is one whose sockets are handed over.
func inet(family int) bool { return family == unix.AF_INET || family == unix.AF_INET6 }

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
	// Multipath TCP serves TCP clients as it is, and is what Go's listeners are
	// since 1.24: a program built by another toolchain means the same port.
	if n.Protocol == unix.IPPROTO_MPTCP {
		n.Protocol = unix.IPPROTO_TCP
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
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return n, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		n.Address = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		n.Address = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return n, nil
}

// parseSockaddr reads the address that a bind was given: struct sockaddr_in or
// sockaddr_in6 (ip(7), ipv6(7)). A link-local scope is not part of it: two
// held sockets that differ in it alone are taken in order.
func parseSockaddr(b []byte) (family int, a netip.AddrPort, ok bool) {
	if len(b) < 2 {
		return 0, a, false
	}
	family = int(binary.NativeEndian.Uint16(b))
	switch {
	case family == unix.AF_INET && len(b) >= unix.SizeofSockaddrInet4:
		return family, netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])), true
	case family == unix.AF_INET6 && len(b) >= 24:
		return family, netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(b[2:])), true
	}
	return family, a, false
}
