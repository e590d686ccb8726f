package integration

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// view is what a server says that it sees of its listener.
type view struct {
	net.Conn
	r *bufio.Reader
}

func (s *site) view() *view {
	s.t.Helper()
	var c net.Conn
	await(s.t, "it listens", func() (ok bool) {
		var err error
		if slices.Contains(s.args, "packets=1") {
			c, err = net.Dial("unixpacket", s.socket)
		} else {
			c, err = s.dial()
		}
		return err == nil
	})
	s.t.Cleanup(func() { c.Close() })
	return &view{c, bufio.NewReader(c)}
}

func (v *view) look(t *testing.T) (lines []string) {
	t.Helper()
	v.SetDeadline(time.Now().Add(patience))
	fmt.Fprintln(v, "look")
	for {
		line, err := v.r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d lines: %v", len(lines), err)
		}
		if line == ".\n" {
			return lines
		}
		if !changes[strings.SplitAfter(line, ":")[0]] {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
}

// changes is what does not stay the same of a socket on which nothing was set, or that
// says which socket it is.
var changes = map[string]bool{
	"option 1 4:":  true, // SO_ERROR
	"option 1 17:": true, // SO_PEERCRED: of whoever called listen()
	"option 1 31:": true, // SO_PEERSEC
	"option 1 55:": true, // SO_MEMINFO
	"option 1 56:": true, // SO_INCOMING_NAPI_ID
	"option 1 57:": true, // SO_COOKIE
	"option 1 71:": true, // SO_NETNS_COOKIE
	"option 1 77:": true, // SO_PEERPIDFD
	"option 6 11:": true, // TCP_INFO
	"option 6 24:": true, // TCP_TIMESTAMP
}

// TestStandIn: a version that is quiesced sees of its listener what it saw before: name,
// family, protocol, flags, owner, and every option; and what it sees after a rollback is
// that, too.
func TestStandIn(t *testing.T) {
	t.Parallel()
	kinds := map[string]*site{}
	for _, host := range []string{"127.0.0.1", "127.0.0.9", "0.0.0.0", "::1", "::"} {
		s := newSite(t, c("standin", "standin"))
		s.host = host
		kinds[host] = s
	}
	kinds["path"] = unixSite(t, c("standin", "standin"), filepath.Join(tempDir(t), "socket"))
	kinds["relative"] = unixSite(t, c("standin", "standin"), "socket")
	kinds["packets"] = unixSite(t, c("standin", "standin"), abstract(t), "packets=1")
	kinds["abstract"] = unixSite(t, c("standin", "standin"), abstract(t))
	for name, s := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := launchAt(t, s.dir, launch{flags: []string{"--drain=tcp", "--drain-timeout=60s"}, argv: s.argv()})
			if name == "relative" {
				s.socket = filepath.Join(s.dir, s.socket)
			}
			v := s.view()
			before := v.look(t)
			if len(before) < 20 {
				t.Fatalf("it sees %q", before)
			}
			s.deploy("v1")
			i.restart()
			if diff := cmp.Diff(before, v.look(t)); diff != "" {
				t.Errorf("what a quiesced version sees of its listener (-before +after):\n%s", diff)
			}
			// A rollback: the one that serves now is quiesced, and gets its own back.
			w := s.view()
			before = w.look(t)
			s.deploy("dies")
			if out, code := i.hupt("restart"); code != 1 || !strings.Contains(out, "serves on") {
				t.Errorf("a version that dies: exit code %d\n%s", code, out)
			}
			if diff := cmp.Diff(before, w.look(t)); diff != "" {
				t.Errorf("what a version sees of its listener after a rollback (-before +after):\n%s", diff)
			}
			noStranger(t, i)
		})
	}
}

func noStranger(t *testing.T, i *instance) {
	t.Helper()
	if i.says("a stranger") > 0 {
		t.Errorf("somebody came from another family\n%s", i.tail())
	}
}

// TestStandInTimeout: the time-out of accept() goes on in a version that drains.
func TestStandInTimeout(t *testing.T) {
	t.Parallel()
	s := newSite(t, c("standin", "standin", "model=timeout"))
	i := launchAt(t, s.dir, launch{flags: []string{"--drain=tcp", "--drain-timeout=60s"}, argv: s.argv()})
	v := s.view()
	v.look(t)
	s.deploy("v1")
	i.restart()
	before := i.says("tick of v0")
	await(t, "the old version's time-outs go on", func() bool { return i.says("tick of v0") > before+3 })
	v.look(t)
	noStranger(t, i)
}

// TestStandInKnock: a version of one thread that polls, and was taken what it saw, blocks
// in accept() on what stands in for its listener. It is freed by a client of the family
// that it knows.
func TestStandInKnock(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*site{
		"tcp4":     newSite(t, c("standin", "standin", "model=late")),
		"tcp6":     newSite(t, c("standin", "standin", "model=late")),
		"path":     unixSite(t, c("standin", "standin", "model=late"), filepath.Join(tempDir(t), "socket")),
		"abstract": unixSite(t, c("standin", "standin", "model=late"), abstract(t)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "tcp6" {
				s.host = "::1"
			}
			i := launchAt(t, s.dir, launch{flags: []string{"--drain=tcp", "--drain-timeout=60s"}, argv: s.argv()})
			v := s.view()
			v.look(t)
			old := i.serving().PID
			s.deploy("v1")
			i.restart()
			unix.Kill(old, unix.SIGUSR1) // as if it had polled, it goes into accept()
			await(t, "it is freed from accept()", func() bool { return i.says("woken") > 0 })
			v.look(t)
			noStranger(t, i)
		})
	}
}
