package load

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialer opens connections to the one address of a run.
type dialer struct {
	network, address string
	tls              *tls.Config
	sources          []net.Addr // nil: the kernel chooses
	next             atomic.Uint64
}

func newDialer(o Options) *dialer {
	d := &dialer{network: o.Network, address: o.Address, tls: o.TLS}
	if o.Network != "tcp" || o.Sources == 1 {
		return d
	}
	to, err := netip.ParseAddrPort(o.Address)
	if err != nil || !to.Addr().Is4() || !to.Addr().IsLoopback() {
		return d
	}
	from := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for range o.Sources {
		d.sources = append(d.sources, net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
		from = from.Next()
	}
	return d
}

// dial opens a connection, and does the TLS handshake if there is one to do.
// The plain connection is returned too, for those who must look beneath TLS.
func (d *dialer) dial(deadline time.Time) (conn, plain net.Conn, err error) {
	nd := net.Dialer{Deadline: deadline, KeepAlive: -1}
	if len(d.sources) > 0 {
		nd.LocalAddr = d.sources[d.next.Add(1)%uint64(len(d.sources))]
		nd.Control = bindWithoutPort
	}
	for {
		plain, err = nd.Dial(d.network, d.address)
		// A blocking connect to a Unix socket waits while the accept queue
		// is full; a non-blocking one, which is what Go does, gets EAGAIN.
		if !errors.Is(err, syscall.EAGAIN) || d.network != "unix" || !time.Now().Before(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		return nil, nil, err
	}
	if d.tls == nil {
		return plain, plain, nil
	}
	plain.SetDeadline(deadline)
	t := tls.Client(plain, d.tls)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		plain.Close()
		return nil, nil, err
	}
	return t, plain, nil
}

// bindWithoutPort has the kernel choose the port at connect(), where it may
// take one that is in use towards somebody else; at bind() it may not.
func bindWithoutPort(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// Without it (before Linux 4.2) ports only run out earlier.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}

// idle says whether an idle connection still waits for a request: the server
// has neither closed it nor said a word.
func idle(conn, plain net.Conn) bool {
	sc, ok := plain.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	pending, alive := false, false
	var one [1]byte
	err = raw.Control(func(fd uintptr) {
		n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		pending = err == nil && n > 0
		alive = errors.Is(err, unix.EAGAIN)
	})
	if err != nil || !pending || conn == plain {
		return err == nil && alive
	}
	// Beneath TLS the word may be a session ticket, which means nothing.
	conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err = conn.Read(one[:])
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
