package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
)

var (
	portsMu sync.Mutex
	given   = map[int]bool{}

	reserved []net.Listener // never closed
)

// freePort returns a TCP port of the loopback that nothing uses. It is below
// the ephemeral ports: of those, a client connection of another test could
// take any as its own between now and the victim's bind.
func freePort(t testing.TB) int {
	t.Helper()
	low, high := 32768, 60999
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		fmt.Sscan(string(text), &low, &high)
	}
	if low < 12000 {
		low = 12000
	}
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 1000 {
		port := 10000 + rand.IntN(low-10000)
		if given[port] || !bindable("127.0.0.1", port) || !bindable("::1", port) || !reserve(port) {
			continue
		}
		given[port] = true
		return port
	}
	t.Fatal("no free port found")
	return 0
}

// reserve keeps a port from other suites that run at the same time, for as long
// as this process lives: an abstract Unix socket is nobody's file.
func reserve(port int) bool {
	l, err := net.Listen("unix", fmt.Sprintf("@hupt-test-port-%d", port))
	if err == nil {
		reserved = append(reserved, l)
	}
	return err == nil
}

func bindable(host string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
