package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unixSite is a site whose server listens on a Unix socket.
func unixSite(t testing.TB, v *victim, socket string, args ...string) *site {
	t.Helper()
	s := newSite(t, v)
	s.socket, s.args = socket, args
	if v.tag == nil {
		v.tag, v.check = bodyTag, checkBody
	}
	return s
}

// abstract is an abstract name that no other test has.
func abstract(t testing.TB) string { return "@hupt-" + filepath.Base(tempDir(t)) }

// restartsUnder restarts a site's server n times under load and fails the test
// if a request fails or a restart is not a new process with new code.
func restartsUnder(t *testing.T, s *site, i *instance, n int) {
	t.Helper()
	run := begin(t, s.load())
	seen := newLineage(i)
	for k := 1; k <= n; k++ {
		version := fmt.Sprintf("v%d", k)
		s.deploy(version)
		run.SetPhase(version)
		i.restart("--wait-drained")
		run.SetPhase("")
		seen.isNew(s, version)
		awaitRequests(t, run, int(run.made.Load())+clients, time.Minute)
	}
	noneFailed(t, fmt.Sprintf("%s on %s, %d restarts", s.v.name, s.socket, n), run.Stop())
	if status := i.status(); status.Restarts != n || status.Rollbacks != 0 || status.Cut != 0 {
		t.Errorf("hupt counts %d restarts, %d rollbacks, %d connections cut; want %d, 0, 0",
			status.Restarts, status.Rollbacks, status.Cut, n)
	}
}

// unixServers wait for connections in their own ways.
var unixServers = []string{"go", "c-threads", "c-epoll-edge", "c-prefork", "c-fork-per-connection"}

// TestUnixAbstract: a server on an abstract name is handed over as one on a port.
func TestUnixAbstract(t *testing.T) {
	for _, name := range unixServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := unixSite(t, named(name), abstract(t))
			i := start(s)
			restartsUnder(t, s, i, max(3, scale(unixRestarts)))
			g := i.serving()
			if len(g.Sockets) != 1 || g.Sockets[0].Network != "unix" || g.Sockets[0].Address != s.socket || !g.Sockets[0].Adopted {
				t.Errorf("hupt status: %+v", g.Sockets)
			}
		})
	}
}

// knocking connects to a Unix socket in a tight loop, says nothing, and waits
// until the server has hung up.
type knocking struct {
	made   atomic.Int64
	stop   atomic.Bool
	ended  sync.WaitGroup
	failed sync.Map // error → how often
}

func knock(t *testing.T, kind int, socket string) *knocking {
	k := &knocking{}
	t.Cleanup(func() { k.stop.Store(true) })
	k.ended.Go(func() {
		for !k.stop.Load() {
			if err := knockOnce(kind, socket); err != nil {
				n, _ := k.failed.LoadOrStore(err.Error(), new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
			}
			k.made.Add(1)
		}
	})
	return k
}

func knockOnce(kind int, socket string) error {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	unix.Shutdown(fd, unix.SHUT_WR)
	for b := make([]byte, 512); ; {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n == 0:
			return nil
		}
	}
}

// noneRefused ends the knocking and fails the test if somebody found nobody.
func (k *knocking) noneRefused(t *testing.T) {
	t.Helper()
	k.stop.Store(true)
	k.ended.Wait()
	k.failed.Range(func(err, n any) bool {
		t.Errorf("%d of %d connects: %s", n.(*atomic.Int64).Load(), k.made.Load(), err)
		return true
	})
}

// TestUnixPath: whatever a server does with the path that it serves on, a
// connect finds somebody there, at every instant of every restart.
func TestUnixPath(t *testing.T) {
	for _, c := range []struct {
		name, server string
		args         []string
		relative     bool
	}{
		{"go unlinks before", "go", []string{"-remove"}, false},
		{"go unlinks at its end", "go", []string{"-close"}, false},
		{"go unlinks both times", "go", []string{"-remove", "-close"}, true},
		{"c unlinks before", "c-threads", []string{"unlink=before"}, false},
		{"c unlinks at its end", "c-epoll-edge", []string{"unlink=end"}, true},
		{"c unlinks both times", "c-prefork", []string{"unlink=both", "mode=666"}, false},
		{"c renames", "c-threads", []string{"rename=1", "mode=600"}, true},
		{"c renames and unlinks", "c-fork-per-connection", []string{"rename=1", "unlink=both"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := unixSite(t, named(c.server), "", c.args...)
			s.socket = filepath.Join(s.dir, "s")
			argv := s.argv()
			if c.relative {
				for n := range argv {
					argv[n] = strings.Replace(argv[n], s.socket, "./s", 1)
				}
			}
			i := launchAt(t, s.dir, launch{argv: argv})
			s.awaitAnswer()
			k := knock(t, unix.SOCK_STREAM, s.socket)
			restartsUnder(t, s, i, max(3, scale(unixRestarts)))
			k.noneRefused(t)
			i.signal(unix.SIGTERM)
			i.exitCode()
			_, err := os.Stat(s.socket)
			if removes := strings.Contains(fmt.Sprint(c.args), "-close") || strings.Contains(fmt.Sprint(c.args), "unlink=both") || strings.Contains(fmt.Sprint(c.args), "unlink=end"); removes != os.IsNotExist(err) {
				t.Errorf("after its end: %v", err)
			}
			if left, _ := filepath.Glob(s.socket + "?*"); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// TestUnixBadVersions: a version that fails, wherever it does and whatever it
// did to the path by then, takes nothing from the one that serves.
func TestUnixBadVersions(t *testing.T) {
	for name, args := range map[string][]string{
		"unlinks": {"unlink=both"}, "renames": {"unlink=both", "rename=1", "mode=666"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := unixSite(t, c("c-threads-"+name, "threads", "workers=4"), "", args...)
			s.socket = filepath.Join(s.dir, "s")
			s.v.tag, s.v.check = bodyTag, checkBody
			i := start(s)
			run := begin(t, s.load())
			k := knock(t, unix.SOCK_STREAM, s.socket)
			for _, bad := range []string{"bad-unlink", "bad-bind", "bad-rename", "bad-listen", "bad-probation"} {
				before := s.awaitAnswer()
				s.deploy(bad)
				if out, code := i.hupt("restart"); code != 1 {
					t.Errorf("%s: exit code %d: %s", bad, code, out)
				}
				if after := s.awaitAnswer(); after != before {
					t.Errorf("%s: %+v serves, before it was %+v", bad, after, before)
				}
				s.deploy("v-" + bad)
				i.restart("--wait-drained")
			}
			noneFailed(t, name, run.Stop())
			k.noneRefused(t)
			i.signal(unix.SIGTERM)
			i.exitCode()
			if _, err := os.Stat(s.socket); !os.IsNotExist(err) {
				t.Errorf("the path after the end: %v", err)
			}
		})
	}
}

// TestUnixElsewhere: a version that unlinks the path and serves on another one
// takes it away once the one before has gone, and not earlier.
func TestUnixElsewhere(t *testing.T) {
	t.Parallel()
	s := unixSite(t, named("go"), "", "-remove")
	s.socket = filepath.Join(s.dir, "s")
	i := start(s)
	release := filepath.Join(s.dir, "release")
	slow := s.load()
	slow.Clients, slow.Requests, slow.Path = 1, 1, "/?until="+release
	run := begin(t, slow)
	await(t, "the request is in flight", func() bool { return i.serving().Connections == 1 })
	s.deploy("elsewhere")
	i.restart()
	if _, err := os.Stat(s.socket); err != nil {
		t.Errorf("the path while the old version drains: %v", err)
	}
	if err := os.WriteFile(release, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	noneFailed(t, "the request in flight", run.Wait())
	await(t, "the old path goes", func() bool { _, err := os.Stat(s.socket); return os.IsNotExist(err) })
	s.socket += "2"
	if a := s.awaitAnswer(); a.version != "elsewhere" {
		t.Errorf("%+v", a)
	}
}

// TestUnixModes: the path outlives a version that unlinks it at its end although
// nothing of the program runs before the next one.
func TestUnixModes(t *testing.T) {
	for name, c := range map[string]struct {
		flags []string
		again func(i *instance)
	}{
		"stop-first": {[]string{"--order", "stop-first"}, func(i *instance) { i.restart() }},
		"exec":       {[]string{"--exec"}, func(i *instance) { i.restart() }},
		"revive": {[]string{"--revive"}, func(i *instance) {
			restarted := i.serving().PID
			unix.Kill(restarted, unix.SIGTERM)
			await(i.t, "it is revived", func() bool {
				for _, g := range i.status().Generations {
					if g.State == "serving" && g.PID != restarted {
						return true
					}
				}
				return false
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := unixSite(t, named("c-epoll-level"), "", "unlink=both")
			s.socket = filepath.Join(s.dir, "s")
			i := start(s, c.flags...)
			await(t, "the path is kept", func() bool { return name != "revive" || i.status().Stops["seccomp"] > 0 })
			dialed := dialPath(t, s.socket)
			for range 3 {
				c.again(i)
				s.awaitAnswer()
			}
			dialed.noneRefused(t)
			i.signal(unix.SIGTERM)
			i.exitCode()
			if _, err := os.Stat(s.socket); !os.IsNotExist(err) {
				t.Errorf("the path after the end: %v", err)
			}
		})
	}
}

// dialPath connects to a Unix path in a loop, and says nothing: it waits in the
// queue as long as nobody accepts.
func dialPath(t *testing.T, socket string) *knocking {
	k := &knocking{}
	t.Cleanup(func() { k.stop.Store(true) })
	k.ended.Go(func() {
		for !k.stop.Load() {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
				unix.Close(fd)
			}
			if err != nil {
				n, _ := k.failed.LoadOrStore(err.Error(), new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
			}
			k.made.Add(1)
			time.Sleep(200 * time.Microsecond)
		}
	})
	return k
}
