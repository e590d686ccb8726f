package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hupt/internal/machine"
)

// datagrams is a load of datagrams, each of which is to be answered once.
type datagrams struct {
	t       testing.TB
	conns   []*net.UDPConn
	stop    chan struct{}
	senders sync.WaitGroup
	readers sync.WaitGroup

	sent, answered, refused atomic.Int64

	mu       sync.Mutex
	versions map[string]int
	wrong    []string
	lost     []time.Duration // when what nobody answered was sent
	began    time.Time
	dropped  int // what the machine had dropped by then
}

const (
	datagramClients = 8
	// datagramWindow is how many of a client's datagrams may be unanswered at
	// once. The kernel's queue has room for some 250 small ones by default, so a
	// server that stands still for a moment on a busy machine loses none by that.
	datagramWindow = 20
)

// datagramGivenUp is when one is taken for lost.
var datagramGivenUp = machine.Patience(5 * time.Second)

// sendDatagrams sends rate a second in all to address until stopped.
func sendDatagrams(t testing.TB, address string, rate int) *datagrams {
	t.Helper()
	d := &datagrams{t: t, stop: make(chan struct{}), versions: make(map[string]int), began: time.Now(), dropped: machineDropped(t)}
	for range datagramClients {
		conn, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c := &datagramClient{d: d, conn: conn.(*net.UDPConn), window: make(chan struct{}, datagramWindow), open: make(map[int]*time.Timer)}
		d.conns = append(d.conns, c.conn)
		d.senders.Add(1)
		d.readers.Add(1)
		go c.send(time.Second * datagramClients / time.Duration(rate))
		go c.read()
	}
	return d
}

type datagramClient struct {
	d      *datagrams
	conn   *net.UDPConn
	window chan struct{}

	mu   sync.Mutex
	open map[int]*time.Timer
}

func (c *datagramClient) send(every time.Duration) {
	defer c.d.senders.Done()
	next := time.Now()
	for n := 0; ; n++ {
		select {
		case <-c.d.stop:
			return
		case c.window <- struct{}{}:
		}
		c.mu.Lock()
		sent := time.Since(c.d.began)
		c.open[n] = time.AfterFunc(datagramGivenUp, func() {
			if c.close(n) {
				c.d.mu.Lock()
				c.d.lost = append(c.d.lost, sent)
				c.d.mu.Unlock()
			}
		})
		c.mu.Unlock()
		c.d.sent.Add(1)
		if _, err := fmt.Fprintf(c.conn, "datagram %d", n); err != nil {
			c.d.refused.Add(1) // of one before: nobody had the port
		}
		// Behind its time, it catches up.
		next = next.Add(every)
		time.Sleep(time.Until(next))
	}
}

// close ends the wait for datagram n; it reports false if that was over.
func (c *datagramClient) close(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := c.open[n]
	if timer == nil {
		return false
	}
	timer.Stop()
	delete(c.open, n)
	<-c.window
	return true
}

var datagramAnswer = regexp.MustCompile(`^datagram (\d+) pid=(\d+) version=(\S+)$`)

func (c *datagramClient) read() {
	defer c.d.readers.Done()
	b := make([]byte, 2048)
	for {
		n, err := c.conn.Read(b)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			c.d.refused.Add(1)
			continue
		}
		m := datagramAnswer.FindSubmatch(b[:n])
		number := -1
		if m != nil {
			number, _ = strconv.Atoi(string(m[1]))
		}
		known := m != nil && c.close(number)
		c.d.mu.Lock()
		if known {
			c.d.versions[string(m[3])]++
		} else {
			c.d.wrong = append(c.d.wrong, fmt.Sprintf("%q", b[:n]))
		}
		c.d.mu.Unlock()
		if known {
			c.d.answered.Add(1)
		}
	}
}

// end stops sending, waits for what is on its way, and says what was lost.
func (d *datagrams) end() (sent, lost int64) {
	close(d.stop)
	d.senders.Wait()
	for end := time.Now().Add(datagramGivenUp); time.Now().Before(end) && d.answered.Load() < d.sent.Load(); {
		time.Sleep(10 * time.Millisecond)
	}
	for _, c := range d.conns {
		c.SetReadDeadline(time.Now())
	}
	d.readers.Wait()
	return d.sent.Load(), d.sent.Load() - d.answered.Load()
}

// judge fails the test if a datagram was lost, refused, or answered wrong.
//
// A machine that is too busy drops packets itself, of whatever program: those
// for which the queue of a processor has no room (net.core.netdev_max_backlog).
// It counts them, so what it dropped meanwhile is not taken for hupt's doing.
func (d *datagrams) judge(what string) {
	d.t.Helper()
	sent, lost := d.end()
	dropped := machineDropped(d.t) - d.dropped
	d.t.Logf("%s: %d datagrams, %d not answered; the machine itself dropped %d packets", what, sent, lost, dropped)
	if lost > int64(dropped) || len(d.wrong) != 0 || d.refused.Load() != 0 {
		d.t.Errorf("%s: %d of %d datagrams were not answered, %d refused; other answers: %.300q", what, lost, sent, d.refused.Load(), d.wrong)
		d.t.Log("what was lost was sent at ", d.whenLost())
	}
}

// machineDropped is the second column of /proc/net/softnet_stat, of all
// processors (Documentation/admin-guide/sysctl/net.rst).
func machineDropped(t testing.TB) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			t.Fatalf("/proc/net/softnet_stat: %q", line)
		}
		d, err := strconv.ParseUint(f[1], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		n += int(d)
	}
	return n
}

// whenLost is when those were sent that nobody answered, since the load began.
func (d *datagrams) whenLost() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lost)
}

// askDatagram sends one datagram and returns who answers.
func askDatagram(address string) (tag, error) {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return tag{}, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("datagram 0")); err != nil {
		return tag{}, err
	}
	b := make([]byte, 2048)
	n, err := conn.Read(b)
	if err != nil {
		return tag{}, err
	}
	m := datagramAnswer.FindSubmatch(b[:n])
	if m == nil {
		return tag{}, fmt.Errorf("%q", b[:n])
	}
	pid, _ := strconv.Atoi(string(m[2]))
	return tag{pid, string(m[3])}, nil
}
