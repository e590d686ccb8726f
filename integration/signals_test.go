package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// teller is a shell that says which signals it gets, in front of a server.
const teller = `for s in HUP INT QUIT USR1 USR2 TERM WINCH CONT; do trap "echo got-$s" $s; done
trap 'echo got-TERM; kill $server; exit 9' TERM
trap 'echo got-INT; kill $server; exit 8' INT
"$@" & server=$!
while kill -0 $server 2>/dev/null; do wait $server; done
`

// tell starts a server behind a teller.
func tell(t *testing.T, flags ...string) (*instance, *site) {
	t.Helper()
	s := newSite(t, named("c-threads"))
	script := filepath.Join(s.dir, "teller.sh")
	if err := os.WriteFile(script, []byte(teller), 0o644); err != nil {
		t.Fatal(err)
	}
	argv := append([]string{installed(t, "bash"), script}, s.argv()...)
	i := launchAt(t, s.dir, launch{flags: flags, argv: argv})
	s.awaitAnswer()
	return i, s
}

func (i *instance) says(what string) int {
	text, _ := os.ReadFile(i.output)
	return strings.Count(string(text), what)
}

// TestRestartBySignal: HUP to hupt, and HUP to the program itself, restart;
// the program never sees it.
func TestRestartBySignal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		flags []string
		to    func(i *instance) int
		sig   syscall.Signal
	}{
		{"HUP to hupt", nil, func(i *instance) int { return i.pid }, unix.SIGHUP},
		{"HUP to the program", nil, func(i *instance) int { return i.serving().PID }, unix.SIGHUP},
		{"USR1 to hupt", []string{"--restart-signal", "USR1"}, func(i *instance) int { return i.pid }, unix.SIGUSR1},
		{"USR1 to the program", []string{"--restart-signal", "USR1"}, func(i *instance) int { return i.serving().PID }, unix.SIGUSR1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			i, s := tell(t, c.flags...)
			run := begin(t, paced(s))
			seen := newLineage(i)
			for n := 1; n <= 3; n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				unix.Kill(c.to(i), c.sig)
				await(t, "a restart", func() bool { return i.status().Restarts == n })
				seen.isNew(s, version)
			}
			noneFailed(t, c.name, run.Stop())
			if n := i.says("got-HUP") + i.says("got-USR1"); n != 0 {
				t.Errorf("the program saw the signal that restarts, %d times", n)
			}
		})
	}
}

// TestHangupWithoutHandler: a program for which HUP is deadly, as it is for
// most, survives it and is restarted.
func TestHangupWithoutHandler(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-epoll-edge"))
	i := start(s)
	run := begin(t, paced(s))
	for n := 1; n <= few(5); n++ {
		unix.Kill(i.serving().PID, unix.SIGHUP)
		await(t, "a restart", func() bool { return i.status().Restarts == n })
	}
	noneFailed(t, "HUP to the program", run.Stop())
}

// TestSignalsPassedOn: what is not hupt's goes to the program, once.
func TestSignalsPassedOn(t *testing.T) {
	t.Parallel()
	i, _ := tell(t, "--restart-signal", "none")
	for _, c := range []struct {
		sig  syscall.Signal
		says string
	}{{unix.SIGHUP, "got-HUP"}, {unix.SIGUSR1, "got-USR1"}, {unix.SIGWINCH, "got-WINCH"}} {
		i.signal(c.sig)
		await(t, c.says, func() bool { return i.says(c.says) > 0 })
		time.Sleep(200 * time.Millisecond)
		if n := i.says(c.says); n != 1 {
			t.Errorf("%s was passed on %d times", c.says, n)
		}
		// And straight to the program.
		unix.Kill(i.serving().PID, c.sig)
		await(t, c.says+" again", func() bool { return i.says(c.says) == 2 })
	}
	if n := i.status().Restarts; n != 0 {
		t.Errorf("%d restarts with --restart-signal none", n)
	}
}

// TestStopBySignal: TERM and INT to hupt reach the program as what they are.
func TestStopBySignal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sig  syscall.Signal
		says string
		code int
	}{{unix.SIGTERM, "got-TERM", 9}, {unix.SIGINT, "got-INT", 8}} {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			i, _ := tell(t)
			i.signal(c.sig)
			if code := i.exitCode(); code != c.code {
				t.Errorf("exit code %d, not %d", code, c.code)
			}
			if n := i.says(c.says); n != 1 {
				t.Errorf("the program says %s %d times", c.says, n)
			}
		})
	}
	for _, both := range []bool{false, true} {
		t.Run(fmt.Sprintf("default/both=%v", both), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("c-threads"))
			i := start(s)
			if pid := i.serving().PID; both {
				unix.Kill(pid, unix.SIGTERM)
			}
			i.signal(unix.SIGTERM)
			if code := i.exitCode(); code != 143 {
				t.Errorf("exit code %d, not 143", code)
			}
			if n := i.says("the program ended"); n != 0 && !both {
				t.Errorf("hupt says how the program ended that it was told to end: %s", i.tail())
			}
		})
	}
}
