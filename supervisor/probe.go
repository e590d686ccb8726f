package supervisor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"hupt/fdtable"
)

// prober asks a generation by HTTP whether it is ready.
//
// Two generations wait on the same sockets then, and either may get the
// connection. So it is looked up who did, before anything is sent: the inode of
// the accepted socket, by its addresses, is in /proc/PID/fd of some process.
// One that another generation got is closed again: to that, it is a client that
// came and left. Whoever was idle longest may always be woken first, so each
// try makes more connections at once than the one before.
type prober struct {
	url   string
	mine  func(inodes map[uint64]bool) bool // whether some process of the new generation has one of them
	tries int
}

const (
	probesMax = 32
	// acceptWait is how long a connection may wait until somebody has it. A
	// socket with TCP_DEFER_ACCEPT is not accepted before the request is there.
	acceptWait = 300 * time.Millisecond
)

var errNotMine = errors.New("answered, but not by a process of the new version")

// try asks once. It fails with what is wrong.
func (p *prober) try() error {
	p.tries = min(2*p.tries+1, probesMax)
	client := &http.Client{
		Timeout:       askLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:       p.dial,
			DisableKeepAlives: false, // a server that hangs up at once can't be told apart
			// As orchestrators do: who answers is known otherwise, and on the loopback
			// few certificates are right.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
	}
	defer client.CloseIdleConnections()
	response, err := client.Get(p.url)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("%s is answered %s", p.url, response.Status)
	}
	return nil
}

// dial makes connections until one is the new generation's, and fails if none
// of them is.
func (p *prober) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	var d net.Dialer
	for range p.tries {
		c, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
	}
	for deadline := time.Now().Add(acceptWait); ; {
		began := time.Now()
		sockets, err := fdtable.Dump(fdtable.Connected, addrPort(conns[0].RemoteAddr()).Port())
		if err != nil {
			return nil, err
		}
		for i, c := range conns {
			if theirs := serverSide(c, sockets); len(theirs) > 0 && p.mine(theirs) {
				conns[i] = conns[len(conns)-1]
				conns = conns[:len(conns)-1]
				return c, nil
			}
		}
		if time.Now().After(deadline) {
			return nil, errNotMine
		}
		time.Sleep(max(5*time.Millisecond, drainCost*time.Since(began)))
	}
}

// serverSide is the inode of the other end of a connection, if it is on this
// machine and somebody has it.
func serverSide(c net.Conn, sockets []fdtable.Socket) map[uint64]bool {
	here, there := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	out := make(map[uint64]bool)
	for _, k := range sockets {
		if k.Inode != 0 && same(k.Remote, here) && same(k.Local, there) {
			out[k.Inode] = true
		}
	}
	return out
}

func addrPort(a net.Addr) netip.AddrPort {
	p, _ := netip.ParseAddrPort(a.String())
	return p
}

func same(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Unmap().WithZone("") == b.Addr().Unmap().WithZone("")
}
