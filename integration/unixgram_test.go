package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hupt/fdtable"
	"hupt/supervisor"
)

// asking sends datagrams to a server, each from a client that has connected its
// socket, so that it hears nobody else, and waits for the answer to each.
type asking struct {
	t      *testing.T
	socket string
	made   atomic.Int64
	stop   chan struct{}
	ended  sync.WaitGroup

	mu     sync.Mutex
	tags   map[string]int
	failed []string
}

func askAll(t *testing.T, socket string, clients, ms int) *asking {
	t.Helper()
	a := &asking{t: t, socket: socket, stop: make(chan struct{}), tags: map[string]int{}}
	dir := tempDir(t)
	for n := range clients {
		a.ended.Go(func() { a.client(filepath.Join(dir, fmt.Sprint("client", n)), ms) })
	}
	return a
}

func (a *asking) client(own string, ms int) {
	conn, err := net.DialUnix("unixgram", &net.UnixAddr{Name: own, Net: "unixgram"}, &net.UnixAddr{Name: a.socket, Net: "unixgram"})
	if err != nil {
		a.fail(err)
		return
	}
	defer conn.Close()
	for n := 0; ; n++ {
		select {
		case <-a.stop:
			return
		default:
		}
		text := fmt.Sprintf("%d", n)
		if ms > 0 {
			text = fmt.Sprintf("ms=%d %d", ms, n)
		}
		tag, err := a.once(conn, text)
		if err != nil {
			a.fail(fmt.Errorf("message %q: %w", text, err))
		}
		a.mu.Lock()
		a.tags[tag]++
		a.mu.Unlock()
		a.made.Add(1)
	}
}

func (a *asking) once(conn net.Conn, text string) (tag string, err error) {
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(text)); err != nil {
		return "", err
	}
	b := make([]byte, 1024)
	n, err := conn.Read(b)
	if err != nil {
		return "", err
	}
	tag, echo, _ := strings.Cut(string(b[:n]), "\n")
	if echo != text {
		return "", fmt.Errorf("the answer is %q", b[:n])
	}
	return tag, nil
}

func (a *asking) fail(err error) {
	a.mu.Lock()
	a.failed = append(a.failed, err.Error())
	a.mu.Unlock()
}

// allAnswered ends the asking and fails the test if an answer never came.
func (a *asking) allAnswered() {
	a.t.Helper()
	close(a.stop)
	a.ended.Wait()
	if len(a.failed) > 0 {
		a.t.Errorf("%d of %d datagrams: %s", len(a.failed), a.made.Load(), errors.New(strings.Join(a.failed[:min(3, len(a.failed))], "; ")))
	}
	a.t.Logf("%d datagrams, answered by %d processes", a.made.Load(), len(a.tags))
}

func (a *asking) answeredBy(version string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for tag := range a.tags {
		if strings.HasSuffix(tag, "version="+version) {
			return true
		}
	}
	return false
}

// TestUnixDatagram: a datagram server on a path or an abstract name loses no
// message to a restart, neither one that waits nor one that is being answered.
func TestUnixDatagram(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		v        *victim
		abstract bool
		args     []string
	}{
		{"recvfrom", &victim{name: "datagram", program: "datagram"}, false, []string{"model=recv", "unlink=both"}},
		{"poll", &victim{name: "datagram", program: "datagram"}, true, []string{"model=poll"}},
		{"epoll", &victim{name: "datagram", program: "datagram"}, false, []string{"model=epoll", "unlink=before", "rename=1", "mode=666"}},
		{"python", &victim{name: "python", template: "py/unix_datagram.py"}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.v.argv = func(s *site) []string {
				if c.v.template != "" {
					return []string{s.executable("python3"), s.program(), s.socket}
				}
				return []string{s.program(), "path=" + s.socket}
			}
			s := unixSite(t, c.v, abstract(t), c.args...)
			if !c.abstract {
				s.socket = filepath.Join(s.dir, "s")
			}
			i := launchAt(t, s.dir, launch{argv: s.argv()})
			await(t, "it serves", func() bool { return i.bound(s.socket) })
			quick, slow := askAll(t, s.socket, 4, 0), askAll(t, s.socket, 8, 300)
			for n := 1; n <= max(few(3), scale(unixRestarts)); n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				i.restart("--wait-drained")
				await(t, version+" answers", func() bool { return quick.answeredBy(version) && slow.answeredBy(version) })
			}
			quick.allAnswered()
			slow.allAnswered()
			i.signal(15)
			i.exitCode()
			if _, err := os.Stat(s.socket); !c.abstract && (strings.Contains(fmt.Sprint(c.args), "both") || c.v.template != "") != os.IsNotExist(err) {
				t.Errorf("the path after the end: %v", err)
			}
		})
	}
}

// TestUnixDatagramBusy: a server that is at work, and waits for nothing, when the
// restart looks at it, and to which nobody has connected a socket, is a server all the same.
func TestUnixDatagramBusy(t *testing.T) {
	t.Parallel()
	v := &victim{name: "datagram", program: "datagram"}
	v.argv = func(s *site) []string { return []string{s.program(), "path=" + s.socket} }
	for _, c := range []struct {
		name     string
		abstract bool
	}{{"path", false}, {"abstract", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// Longer than what is given to a version that binds nothing.
			s := unixSite(t, v, abstract(t), "model=recv", "workers=1", "unlink=both", "startup=1500")
			if !c.abstract {
				s.socket = filepath.Join(s.dir, "s")
			}
			i := launchAt(t, s.dir, launch{argv: s.argv()})
			await(t, "it serves", func() bool { return i.bound(s.socket) })
			client, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(s.dir, "client"), Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			client.SetDeadline(time.Now().Add(patience))
			ask := func(text string) {
				if _, err := client.WriteTo([]byte(text), &net.UnixAddr{Name: s.socket, Net: "unixgram"}); err != nil {
					t.Fatal(err)
				}
			}
			answer := func() string {
				b := make([]byte, 1024)
				n, err := client.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				return string(b[:n])
			}
			ask("first")
			answer()
			ask("busy=1000 second")
			await(t, "it has got it", func() bool { return unreadAt(t, s.socket) == 0 })
			s.deploy("v1")
			i.restart()
			if got := answer(); !strings.Contains(got, "second") {
				t.Errorf("the answer is %q", got)
			}
			ask("third")
			if got := answer(); !strings.Contains(got, "version=v1") {
				t.Errorf("the new version's answer is %q", got)
			}
			if sockets := i.serving().Sockets; len(sockets) != 1 || !sockets[0].Adopted {
				t.Errorf("the new version's sockets are %+v", sockets)
			}
		})
	}
}

// unreadAt is how many bytes wait to be read at a Unix socket.
func unreadAt(t *testing.T, address string) int {
	t.Helper()
	sockets, err := fdtable.DumpUnix(fdtable.Datagrams)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		if strings.Replace(s.Path, "\x00", "@", 1) == address {
			return s.Unread
		}
	}
	t.Fatalf("nobody has %s", address)
	return 0
}

// bound reports whether hupt knows of a socket at that address.
func (i *instance) bound(address string) bool {
	out, code := i.hupt("status", "--json")
	if code != 0 {
		return false
	}
	status, err := parseStatus(out)
	if err != nil {
		return false
	}
	for _, g := range status.Generations {
		if slices.ContainsFunc(g.Sockets, func(k supervisor.SocketStatus) bool { return k.Address == address }) {
			return true
		}
	}
	return false
}
