package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// rebinding is a conversation with testdata/c/rebinds.c.
type rebinding struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func tellRebinds(t *testing.T, s *site) *rebinding {
	t.Helper()
	g := speak(t, s)
	return &rebinding{t, g.c, g.r}
}

func (r *rebinding) asks(what string) string {
	r.t.Helper()
	r.c.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(r.c, what)
	line, err := r.r.ReadString('\n')
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	return line
}

func rebindsSite(t *testing.T, args ...string) *site {
	v := c("c-rebinds", "rebinds", args...)
	v.tag, v.check = bodyTag, checkBody
	return newSite(t, v)
}

// TestFlagStays: a version that serves sets O_NONBLOCK on one listener, and binds another
// one anew; the flag stays.
func TestFlagStays(t *testing.T) {
	t.Parallel()
	s := rebindsSite(t)
	i := launchAt(t, s.dir, launch{flags: []string{"--drain", "tcp", "--drain-timeout", "never"}, argv: s.argv()})
	old := tellRebinds(t, s)
	want := old.asks("accepted")
	s.deploy("v1")
	i.restart()
	r := tellRebinds(t, s)
	if got := r.asks("accepted"); got != want {
		t.Errorf("accept on a datagram socket gave %q, in the first version %q", got, want)
	}
	r.asks("nonblock B")
	if got := r.asks("again A"); got != "done\n" {
		t.Errorf("a bind in a version that serves gives %q", got)
	}
	if got := r.asks("flags B"); got != "1\n" {
		t.Errorf("O_NONBLOCK is %q", got)
	}
}

// TestPathBoundTwice: a server that unlinks its path and binds it anew, and still has the
// socket that was there before, is restarted: its clients find the next version.
func TestPathBoundTwice(t *testing.T) {
	t.Parallel()
	s := rebindsSite(t)
	path := filepath.Join(s.dir, "sock")
	s.args = []string{"path=" + path}
	i := launchAt(t, s.dir, launch{argv: s.argv()})
	tellRebinds(t, s).c.Close()
	for n := 1; n <= 2; n++ {
		s.deploy(fmt.Sprintf("v%d", n))
		i.restart()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		b, err := io.ReadAll(c)
		c.Close()
		if err != nil || len(b) == 0 {
			t.Errorf("version %d: %q, %v", n, b, err)
		}
	}
}

// TestBoundAgainInRestart: a version that serves closes a listener and binds the address anew
// while another version starts that has it by now, or not, and right after that one failed.
func TestBoundAgainInRestart(t *testing.T) {
	t.Parallel()
	s := rebindsSite(t)
	i := launchAt(t, s.dir, launch{flags: []string{"--ready-timeout", "3s"}, argv: s.argv(), env: s.env()})
	r := tellRebinds(t, s)
	for _, how := range []string{"bound", "hang"} {
		s.deployBad(how)
		i.hupt("restart", "--no-wait")
		failed := i.says("failed: ")
		await(t, "it starts", func() bool { return len(i.status().Generations) == 2 })
		time.Sleep(300 * time.Millisecond)
		for _, which := range []string{"again A", "again B", "again A"} {
			if got := r.asks(which); got != "done\n" {
				t.Errorf("%s beside a version that is %s gives %q", which, how, got)
			}
		}
		await(t, "it fails", func() bool { return i.says("failed: ") > failed })
		for _, which := range []string{"again A", "again B"} {
			if got := r.asks(which); got != "done\n" {
				t.Errorf("%s after a version that is %s gives %q", which, how, got)
			}
		}
		s.awaitAnswer()
	}
}
