package reuseport

import (
	"crypto/rand"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probe is a client that gets through to nobody. Over TCP its SYN is signed
// (RFC 2385, TCP_MD5SIG in tcp(7)), and every socket that was not given the same
// key drops it: none needs a filter, which for TCP only a holder of
// CAP_NET_ADMIN may attach since of late. Datagrams are dropped by filters.
type probe struct {
	group Group
	to    unix.Sockaddr
	from  netip.AddrPort
	fd    int
}

func newProbe(g Group) (*probe, error) {
	p := &probe{group: g, fd: -1}
	// A socket of IPv6 that is bound to an address of IPv4 is reached by IPv4.
	to := g.Address.Addr().Unmap()
	switch to {
	case netip.IPv4Unspecified():
		to = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		to = netip.IPv6Loopback()
	}
	p.to = sockaddr(netip.AddrPortFrom(to, g.Address.Port()))
	// From the address that it goes to: that is the machine's own.
	p.from = netip.AddrPortFrom(to, 0)
	if err := p.open(); err != nil {
		return nil, err
	}
	sa, err := unix.Getsockname(p.fd)
	if err != nil {
		p.close()
		return nil, os.NewSyscallError("getsockname", err)
	}
	p.from = addrPort(sa)
	return p, nil
}

func (p *probe) open() error {
	family := unix.AF_INET
	if p.from.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, p.group.Type|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, sockaddr(p.from)); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("bind", err)
	}
	if p.group.Type == unix.SOCK_STREAM {
		if err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, signature(p.to)); err != nil {
			unix.Close(fd)
			return os.NewSyscallError("setsockopt(TCP_MD5SIG)", err)
		}
	}
	p.fd = fd
	return nil
}

// send lets one packet go. On its way within the machine it is delivered
// before the call returns.
func (p *probe) send() error {
	if p.group.Type == unix.SOCK_DGRAM {
		return os.NewSyscallError("sendto", unix.Sendto(p.fd, nil, 0, p.to))
	}
	if p.fd < 0 {
		if err := p.open(); err != nil {
			return err
		}
	}
	err := unix.Connect(p.fd, p.to)
	// Each SYN is another socket's, from the same port.
	p.close()
	if err == unix.EINPROGRESS {
		return nil
	}
	return os.NewSyscallError("connect", err)
}

func (p *probe) close() {
	if p != nil && p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

// signature is a key for what is sent to an address.
func signature(to unix.Sockaddr) *unix.TCPMD5Sig {
	sig := &unix.TCPMD5Sig{Keylen: 8}
	rand.Read(sig.Key[:sig.Keylen])
	switch to := to.(type) {
	case *unix.SockaddrInet4:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sig.Addr))
		sa.Family, sa.Addr = unix.AF_INET, to.Addr
	case *unix.SockaddrInet6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&sig.Addr))
		sa.Family, sa.Addr = unix.AF_INET6, to.Addr
	}
	return sig
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
