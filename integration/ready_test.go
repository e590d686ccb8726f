package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/supervisor"
)

// warmth is how long the new version takes from accepting to being ready.
const warmth = 1500 * time.Millisecond

// TestReadyByChoice: a new version that accepts at once and is ready only
// later takes over only then, and one that never is, never.
func TestReadyByChoice(t *testing.T) {
	t.Parallel()
	for name, flag := range map[string]string{
		"notify": "notify",
		"delay":  "delay:1.5",
		"cmd":    `cmd:find "$PWD" -maxdepth 1 -name warm | grep -q .`,
		"http":   "http:http://ADDRESS/health",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("go"))
			s.args = []string{"-warm", warmth.String()}
			if name == "cmd" {
				time.AfterFunc(warmth, func() { os.WriteFile(filepath.Join(s.dir, "warm"), nil, 0o644) })
			}
			i := start(s, "--ready", strings.ReplaceAll(flag, "ADDRESS", s.address()))
			await(t, "the first one is said to serve", func() bool { return i.says("generation 1 serves") == 1 })
			run := begin(t, paced(s))
			seen := newLineage(i)
			for n := 1; n <= 2; n++ {
				os.Remove(filepath.Join(s.dir, "warm"))
				var warm atomic.Int64
				if name == "cmd" {
					time.AfterFunc(warmth, func() {
						warm.Store(time.Now().UnixNano())
						os.WriteFile(filepath.Join(s.dir, "warm"), nil, 0o644)
					})
				}
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				events := i.restartEvents()
				ready := eventOf(events, supervisor.EventReady)
				switch {
				case name == "cmd":
					if at := warm.Load(); at == 0 || ready.Time.UnixNano() < at {
						t.Error("it was ready before the command said so")
					}
				case ready.After < 0.9*warmth.Seconds():
					t.Errorf("ready after %v s, but it needs %v", ready.After, warmth)
				}
				seen.isNew(s, version)
			}
			if name != "delay" {
				os.Remove(filepath.Join(s.dir, "warm"))
				out, code := i.hupt("restart", "--timeout", "1s")
				if code != 1 || !strings.Contains(out, "it was not ready after") {
					t.Errorf("one that is not warm in time: exit code %d\n%s", code, out)
				}
				t.Log(strings.TrimSpace(out))
			}
			noneFailed(t, name, run.Stop())
		})
	}
}

func eventOf(events []supervisor.Event, kind supervisor.EventKind) supervisor.Event {
	for _, e := range events {
		if e.Kind == kind {
			return e
		}
	}
	return supervisor.Event{}
}

// TestReadyHTTP: whoever answers the probe is told apart in servers that wait
// in their own ways, idle and under load.
func TestReadyHTTP(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"c-threads", "c-prefork-reuseport", "c-epoll-edge", "c-fork-per-connection", "nginx", "node", "python-http1.0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(name))
			i := start(s, "--ready", "http://"+s.address()+"/")
			seen := newLineage(i)
			s.deploy("v1")
			i.restart() // with nobody else there
			seen.isNew(s, "v1")
			run := begin(t, paced(s))
			s.deploy("v2")
			i.restart()
			seen.isNew(s, "v2")
			noneFailed(t, name, run.Stop())
		})
	}
	// One that somebody else answers is not ready by it.
	t.Run("elsewhere", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("go"))
		i := start(s, "--ready", fmt.Sprintf("http://127.0.0.1:%d/", slowBackend(t)))
		out, code := i.hupt("restart", "--timeout", (2 * readyLimit).String())
		if code != 1 || !strings.Contains(out, "not by a process of the new version") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
}

// TestSystemd: what systemd is told by NOTIFY_SOCKET, of a service of
// Type=notify or notify-reload.
func TestSystemd(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	path := filepath.Join(s.dir, "notify.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A server that drops its privileges must reach hupt's; so must this one be
	// reached by whoever runs the tests.
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told []string
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			told = append(told, strings.ReplaceAll(string(b[:n]), "\n", " "))
			mu.Unlock()
		}
	}()
	awaitTold := func(prefix string) {
		t.Helper()
		await(t, "systemd is told "+prefix, func() bool {
			mu.Lock()
			defer mu.Unlock()
			for n, text := range told {
				if strings.HasPrefix(text, prefix) {
					told = told[n+1:]
					return true
				}
			}
			return false
		})
	}
	i := launchAt(t, s.dir, launch{argv: s.argv(), env: append(s.env(), "NOTIFY_SOCKET="+path)})
	awaitTold(fmt.Sprintf("READY=1 MAINPID=%d", i.pid))
	s.deploy("v1")
	i.restart("--wait-drained")
	awaitTold("RELOADING=1 MONOTONIC_USEC=")
	awaitTold("READY=1 STATUS=generation 2 serves")
	s.deployBad("exit")
	if _, code := i.hupt("restart"); code != 1 {
		t.Errorf("exit code %d", code)
	}
	awaitTold("RELOADING=1 MONOTONIC_USEC=")
	awaitTold("READY=1 STATUS=generation 3 failed")
	i.signal(unix.SIGTERM)
	awaitTold("STOPPING=1")
}

// TestReadyWithoutClosed: what a version listened on and has no more is not waited for.
func TestReadyWithoutClosed(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"closed", "later", "failed", "child"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c("closes", "closes", "model="+model))
			s.v.tag, s.v.check = bodyTag, checkBody
			i := start(s)
			run := begin(t, paced(s))
			for n := range 2 {
				version := fmt.Sprintf("v%d", n+1)
				s.deploy(version)
				i.restart("--timeout", readyLimit.String())
				if who := s.awaitAnswer(); who.version != version {
					t.Errorf("%s answers, not %s", who.version, version)
				}
			}
			noneFailed(t, model, run.Stop())
		})
	}
}
