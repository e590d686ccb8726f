package integration

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/internal/machine"
)

// TestDrainIdleBeside: thousands of clients keep a connection, ask now and
// then, and ask once more at a random moment around a restart. How many get no
// answer, beside the server's own way to restart on the same work.
func TestDrainIdleBeside(t *testing.T) {
	const (
		grace  = time.Second
		spread = 3 * time.Second
		within = grace + spread + time.Second // of the restart, everybody asks once more
	)
	for _, c := range []struct {
		victim string
		own    unix.Signal
		args   []string
	}{
		{"nginx", unix.SIGHUP, nil},
		{"haproxy", unix.SIGUSR2, []string{"-W"}},
	} {
		t.Run(c.victim, func(t *testing.T) {
			t.Parallel()
			kept, rounds := max(100, scale(5000)), max(1, scale(5))
			var ours, theirs keptCounts
			for range rounds {
				under := newSite(t, named(c.victim))
				manyConnections(under)
				i := start(under, "--idle-grace", grace.String(), "--close-spread", spread.String(), "--drain-timeout", "never")
				ours.add(askAtRandom(t, under, kept, within, func() {
					under.deploy("v1")
					manyConnections(under)
					watch := machine.Begin()
					gone := drained(t, i)
					_, slower := watch.End()
					t.Logf("the old version was gone %v after its quiesce", gone.Round(time.Millisecond))
					// The grace begins with the end of the probation, and hupt
					// looks from time to time.
					if gone > grace+spread+time.Duration(float64(2*time.Second)*slower) {
						t.Errorf("that is later than the grace, %v, and the spread, %v", grace, spread)
					}
					if cut := i.status().Cut; cut != 0 {
						t.Errorf("%d connections were cut", cut)
					}
				}))
				bare := newSite(t, named(c.victim))
				manyConnections(bare)
				b := launchAt(t, bare.dir, launch{bare: true, argv: append(bare.argv(), c.args...), env: bare.env()})
				bare.awaitAnswer()
				theirs.add(askAtRandom(t, bare, kept, within, func() {
					bare.deploy("v1")
					manyConnections(bare)
					b.signal(c.own)
				}))
			}
			t.Logf("%s under hupt: %v", c.victim, &ours)
			t.Logf("%s by itself: %v", c.victim, &theirs)
			if ours.failed.Load() > theirs.failed.Load() {
				t.Errorf("%d requests failed under hupt, %d without", ours.failed.Load(), theirs.failed.Load())
			}
		})
	}
}

// manyConnections changes the site's configuration, so that thousands of
// connections fit in.
func manyConnections(s *site) {
	s.t.Helper()
	text, err := os.ReadFile(s.program())
	if err != nil {
		s.t.Fatal(err)
	}
	s.install([]byte(strings.NewReplacer("worker_connections 1024", "worker_connections 8000",
		"worker_rlimit_nofile 4096", "worker_rlimit_nofile 16000", "maxconn 1000", "maxconn 8000").Replace(string(text))), 0o644)
}

// keptCounts is what became of the last request of each client with a kept
// connection.
type keptCounts struct {
	clients       int
	kept          atomic.Int64 // answered on the connection
	fresh         atomic.Int64 // the connection had been closed: asked and answered on a new one
	failed        atomic.Int64 // sent, and not answered
	mu            sync.Mutex
	firstFailures []error
}

func (c *keptCounts) add(o *keptCounts) {
	c.clients += o.clients
	c.kept.Add(o.kept.Load())
	c.fresh.Add(o.fresh.Load())
	c.failed.Add(o.failed.Load())
	c.firstFailures = append(c.firstFailures, o.firstFailures...)
}

func (c *keptCounts) fail(err error) {
	c.failed.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.firstFailures) < 3 {
		c.firstFailures = append(c.firstFailures, err)
	}
}

func (c *keptCounts) String() string {
	return fmt.Sprintf("%d clients: %d answered on their kept connection, %d on a new one since the server had closed that, %d failed (%.3f %%) %v",
		c.clients, c.kept.Load(), c.fresh.Load(), c.failed.Load(), 100*float64(c.failed.Load())/float64(c.clients), c.firstFailures)
}

// askAtRandom has n clients connect and ask three times, calls restart, and has
// each ask once more at a random moment between a little before that and within
// after it.
func askAtRandom(t *testing.T, s *site, n int, within time.Duration, restart func()) *keptCounts {
	t.Helper()
	const before = 500 * time.Millisecond
	c := &keptCounts{clients: n}
	var ready, over sync.WaitGroup
	begin := make(chan struct{})
	for range n {
		ready.Add(1)
		over.Go(func() {
			k, err := dialKept(s)
			for n := 0; n < 3 && err == nil; n++ {
				err = k.ask()
			}
			ready.Done()
			if err != nil {
				c.fail(fmt.Errorf("before the restart: %w", err))
				return
			}
			defer func() { k.Close() }()
			<-begin
			time.Sleep(rand.N(before + within))
			if k.closed() {
				k.Close()
				if k, err = dialKept(s); err == nil {
					err = k.ask()
				}
				if err == nil {
					c.fresh.Add(1)
				}
			} else if err = k.ask(); err == nil {
				c.kept.Add(1)
			}
			if err != nil {
				c.fail(err)
			}
		})
		if n%16 == 0 {
			ready.Wait() // a listener's queue takes only so many at once
		}
	}
	ready.Wait()
	close(begin)
	time.Sleep(before)
	restart()
	over.Wait()
	return c
}

// kept is a client's connection.
type kept struct {
	net.Conn
	r *bufio.Reader
}

func dialKept(s *site) (*kept, error) {
	conn, err := net.Dial("tcp", s.address())
	if err != nil {
		return &kept{}, err
	}
	return &kept{conn, bufio.NewReaderSize(conn, 512)}, nil
}

func (k *kept) Close() {
	if k.Conn != nil {
		k.Conn.Close()
	}
}

// closed reports whether the server is known to have closed.
func (k *kept) closed() bool {
	raw, err := k.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	raw.Control(func(fd uintptr) {
		_, _, err = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err != unix.EAGAIN
}

// ask asks for something that is there.
func (k *kept) ask() error {
	r, err := k.roundTrip()
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", r.StatusCode)
	}
	return err
}

// roundTrip asks by HTTP, and returns the response, read whole.
func (k *kept) roundTrip(header ...string) (*http.Response, error) {
	k.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(k, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", strings.Join(header, "")); err != nil {
		return nil, err
	}
	r, err := http.ReadResponse(k.r, nil)
	if err == nil && r.StatusCode != http.StatusSwitchingProtocols {
		_, err = io.Copy(io.Discard, r.Body)
	}
	return r, err
}
