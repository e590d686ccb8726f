package integration

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// signals is a conversation with the victim of the same name, which makes every call
// that signals a group and says what came of it.
type signals struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func speak(t *testing.T, s *site) *signals {
	t.Helper()
	var c net.Conn
	await(t, "it listens", func() bool {
		var err error
		c, err = net.Dial("tcp", s.address())
		return err == nil
	})
	t.Cleanup(func() { c.Close() })
	return &signals{t, c, bufio.NewReader(c)}
}

// tells lets it make its calls.
func (g *signals) tells() string {
	g.t.Helper()
	g.c.SetDeadline(time.Now().Add(patience))
	if _, err := g.c.Write([]byte("go\n")); err != nil {
		g.t.Fatal(err)
	}
	var b strings.Builder
	for {
		line, err := g.r.ReadString('\n')
		if err != nil {
			g.t.Fatalf("after %q: %v", b.String(), err)
		}
		if line == "end\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

// TestGroups: what a program's calls to signal a group give, and who gets the signals
// of whom, is line by line as bare, in each generation, draining or not; and
// nobody else gets any: not another generation, not hupt, which would restart.
func TestGroups(t *testing.T) {
	t.Parallel()
	v := c("c-signals", "signals")
	bare := newSite(t, v)
	launchAt(t, bare.dir, launch{bare: true, argv: bare.argv()})
	want := speak(t, bare).tells()
	for _, way := range []struct {
		name  string
		flags []string
	}{
		{"start-first", nil}, {"stop-first", []string{"--order", "stop-first"}}, {"exec", []string{"--exec"}},
		{"pool", []string{"--multi", "2"}}, {"revive", []string{"--revive"}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, v)
			i := launchAt(t, s.dir, launch{flags: append(way.flags, "--drain", "tcp", "--drain-timeout", "never"), argv: s.argv()})
			first := speak(t, s)
			compare := func(who string, g *signals) {
				t.Helper()
				if have := g.tells(); have != want {
					t.Errorf("%s, %s:\n%s", way.name, who, differences(want, have))
				}
			}
			compare("the first", first)
			if way.name == "start-first" {
				for n := 1; n <= 2; n++ {
					s.deploy(fmt.Sprintf("v%d", n))
					i.restart()
					next := speak(t, s)
					compare(fmt.Sprintf("the old one, %d", n), first)
					compare(fmt.Sprintf("the new one, %d", n), next)
					compare(fmt.Sprintf("the old one, %d again", n), first)
				}
			} else {
				first.c.Close()
				s.deploy("v1")
				i.restart()
				compare("the second", speak(t, s))
			}
			first.c.Close()
			if n := i.status().Restarts; n > 2 || n < 1 {
				t.Errorf("%d restarts", n)
			}
		})
	}
}

// differences are the lines in which two texts differ.
func differences(want, have string) string {
	var b strings.Builder
	w, h := strings.Split(want, "\n"), strings.Split(have, "\n")
	for n := range max(len(w), len(h)) {
		var x, y string
		if n < len(w) {
			x = w[n]
		}
		if n < len(h) {
			y = h[n]
		}
		if x != y {
			fmt.Fprintf(&b, "bare: %s\nhupt: %s\n", x, y)
		}
	}
	return b.String()
}

// TestGroupEnds: a version that ends its process group at its end, as a shell's trap
// does, ends by itself alone.
func TestGroupEnds(t *testing.T) {
	t.Parallel()
	for _, kill := range []string{"kill 0", "kill -HUP 0", "kill -- -$$", "kill -KILL 0", `kill -- -$(ps -o pgid= $$ | tr -d " ")`} {
		t.Run(kill, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("c-threads"))
			script := s.dir + "/start.sh"
			text := "trap '" + kill + "' EXIT\ntrap exit TERM\n\"$@\" &\nwait\n"
			if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			i := launchAt(t, s.dir, launch{argv: append([]string{installed(t, "bash"), script}, s.argv()...)})
			s.awaitAnswer()
			run := begin(t, paced(s))
			seen := newLineage(i)
			for n := 1; n <= 3; n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				if out, code := i.hupt("restart", "--wait-drained"); code != 0 {
					t.Fatalf("restart: %d\n%s", code, out)
				}
				seen.isNew(s, version)
			}
			noneFailed(t, kill, run.Stop())
			if n := i.status().Restarts; n != 3 {
				t.Errorf("%d restarts", n)
			}
		})
	}
}

// TestEverybody: kill(-1), in a PID namespace whose first process is hupt, or a shell
// that has something else running, which ends by it as bare.
func TestEverybody(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may make a pid namespace here")
	}
	for _, first := range []string{"hupt", "sh"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("c-threads"))
			script := s.dir + "/start.sh"
			if err := os.WriteFile(script, []byte("trap 'kill -- -1; echo it gave $?' EXIT\ntrap exit TERM\n\"$@\" &\nwait\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			before := []string{installed(t, "unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"}
			if first == "sh" {
				before = append(before, "/bin/sh", "-c", `sleep 1000 & "$@"; exit $?`, "sh")
			}
			i := launchAt(t, s.dir, launch{before: before, argv: append([]string{installed(t, "bash"), script}, s.argv()...)})
			s.awaitAnswer()
			hupt, stranger := childrenOf(i.pid)[0], 0
			if first == "sh" {
				for _, pid := range childrenOf(hupt) {
					switch strings.TrimSpace(statusField(pid, "Name")) {
					case "hupt":
						hupt = pid
					case "sleep":
						stranger = pid
					}
				}
				if stranger == 0 {
					t.Fatal("no sleep is running")
				}
			}
			run := begin(t, paced(s))
			for n := 1; n <= 2; n++ {
				s.deploy(fmt.Sprintf("v%d", n))
				unix.Kill(hupt, unix.SIGHUP)
				await(t, "the old one has ended", func() bool { return i.says("it gave 0") == n })
				time.Sleep(200 * time.Millisecond)
				if who, err := s.answer(); err != nil || who.version != fmt.Sprintf("v%d", n) {
					t.Errorf("%v, %v", who, err)
				}
			}
			noneFailed(t, "kill(-1)", run.Stop())
			if first == "sh" {
				await(t, "a stranger gets it", func() bool {
					state := strings.TrimSpace(statusField(stranger, "State"))
					return state == "" || state[0] == 'Z'
				})
			}
			unix.Kill(hupt, unix.SIGTERM)
			if code := i.exitCode(); code != 143 {
				t.Errorf("exit code %d, not 143", code)
			}
		})
	}
}
