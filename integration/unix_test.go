package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/supervisor"
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
		awaitRequests(t, run, int(run.made.Load())+clients, 2*patience)
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
	t.Parallel()
	for _, name := range unixServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := unixSite(t, named(name), abstract(t))
			i := start(s)
			restartsUnder(t, s, i, max(few(3), scale(unixRestarts)))
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
			if small() {
				time.Sleep(time.Millisecond)
			}
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

// asyncio is a python server on a Unix socket.
var asyncio = &victim{name: "python-asyncio", template: "py/unix_asyncio.py", tag: bodyTag, check: checkBody,
	argv: func(s *site) []string { return []string{s.executable("python3"), s.program(), s.socket} }}

// TestUnixPath: whatever a server does with the path that it serves on, a
// connect finds somebody there, at every instant of every restart.
func TestUnixPath(t *testing.T) {
	t.Parallel()
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
		{"python unlinks both times", "", nil, true},
		{"c renames while it listens", "c-threads", []string{"rename=2", "unlink=end"}, false},
		{"c renames and unlinks", "c-fork-per-connection", []string{"rename=1", "unlink=both"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := asyncio
			if c.server != "" {
				v = named(c.server)
			}
			s := unixSite(t, v, "", c.args...)
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
			restartsUnder(t, s, i, max(few(3), scale(unixRestarts)))
			k.noneRefused(t)
			i.signal(unix.SIGTERM)
			i.exitCode()
			_, err := os.Stat(s.socket)
			if removes := v == asyncio || strings.Contains(fmt.Sprint(c.args), "-close") || strings.Contains(fmt.Sprint(c.args), "unlink=both") || strings.Contains(fmt.Sprint(c.args), "unlink=end"); removes != os.IsNotExist(err) {
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
	t.Parallel()
	for name, args := range map[string][]string{
		"unlinks": {"unlink=both"}, "renames": {"unlink=both", "rename=1", "mode=666"}, "renames later": {"unlink=both", "rename=2"},
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
	i.restart("--may-move")
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
	t.Parallel()
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
			dialed := dialPath(t, s.socket)
			for range 3 {
				c.again(i)
				s.awaitAnswer()
			}
			dialed.noneRefused(t)
			// A TERM to hupt right after one to the program is taken for the same.
			time.Sleep(200 * time.Millisecond)
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

// TestUnixKnocks: 10,000 connects in a tight loop during 50 restarts; none finds
// the path missing or nobody behind it.
func TestUnixKnocks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server string
		arg    string
	}{"unlinks before it binds": {"c-epoll-level", "unlink=before"}, "unlinks at its end": {"go", "-close"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := unixSite(t, named(c.server), "", c.arg)
			s.socket = filepath.Join(s.dir, "s")
			i := start(s)
			seen := newLineage(i)
			restarts := max(few(3), scale(knockRestarts))
			k := knock(t, unix.SOCK_STREAM, s.socket)
			for n := 1; n <= restarts; n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				i.restart()
				seen.isNew(s, version)
			}
			await(t, "enough connects", func() bool { return k.made.Load() >= int64(scale(knocks)) })
			k.noneRefused(t)
			t.Logf("%s: %d connects during %d restarts", s.v.name, k.made.Load(), restarts)
		})
	}
}

// TestUnixPackets: a SOCK_SEQPACKET server is handed over like a stream.
func TestUnixPackets(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"path": {"packets=1", "unlink=both"}, "abstract": {"packets=1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := unixSite(t, c("c-packets-"+name, "threads", "workers=4"), abstract(t), args...)
			if name == "path" {
				s.socket = filepath.Join(s.dir, "s")
			}
			i := launchAt(t, s.dir, launch{argv: s.argv()})
			await(t, "it serves", func() bool { return i.bound(s.socket) })
			k := knock(t, unix.SOCK_SEQPACKET, s.socket)
			for n := 1; n <= max(few(3), scale(unixRestarts)); n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				i.restart("--wait-drained")
				conn, err := net.Dial("unixpacket", s.socket)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				answer := make([]byte, 512)
				conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
				if m, err := conn.Read(answer); err != nil || !strings.Contains(string(answer[:m]), "version="+version+"\n") {
					t.Errorf("%q, %v; want %s", answer[:m], err, version)
				}
			}
			k.noneRefused(t)
			if g := i.serving(); len(g.Sockets) != 1 || g.Sockets[0].Network != "unixpacket" || g.Sockets[0].Address != s.socket {
				t.Errorf("hupt status: %+v", g.Sockets)
			}
		})
	}
}

// TestUnixMode: the permissions that a version gives the path hold: by chmod,
// by its umask at the bind, and, what it leaves as it was, as it was.
func TestUnixMode(t *testing.T) {
	t.Parallel()
	s := unixSite(t, named("c-poll"), "", "unlink=both")
	s.socket = filepath.Join(s.dir, "link", "s")
	if err := os.Mkdir(filepath.Join(s.dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.link(filepath.Join(s.dir, "link"), "folder")
	script := filepath.Join(s.dir, "start")
	run := func(umask string, mode string) {
		text := fmt.Sprintf("#!/bin/sh\numask %s\nexec %s path=%s model=poll unlink=both mode=%s\n", umask, s.program(), s.socket, mode)
		if err := writeProgram(script, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	run("022", "0")
	i := launchAt(t, s.dir, launch{argv: []string{script}})
	s.awaitAnswer()
	inode := func() (uint64, os.FileMode) {
		t.Helper()
		st, err := os.Stat(s.socket)
		if err != nil {
			t.Fatal(err)
		}
		return st.Sys().(*syscall.Stat_t).Ino, st.Mode().Perm()
	}
	first, mode := inode()
	if mode != 0o755 {
		t.Errorf("bare: %o", mode)
	}
	k := knock(t, unix.SOCK_STREAM, s.socket)
	for _, c := range []struct {
		umask, mode string
		want        os.FileMode
	}{
		{"022", "0", 0o755},   // as before
		{"022", "600", 0o600}, // chmod
		{"022", "600", 0o600}, // chmod again
		{"027", "0", 0o750},   // by another umask
		{"077", "666", 0o666}, // another umask, then chmod
	} {
		run(c.umask, c.mode)
		i.restart("--wait-drained")
		if same, mode := inode(); same != first || mode != c.want {
			t.Errorf("umask %s, chmod %s: mode %o, the same file: %v", c.umask, c.mode, mode, same == first)
		}
	}
	k.noneRefused(t)
}

// TestUnixNamespaces: the same abstract name in a network namespace of a child's
// own is another socket.
func TestUnixNamespaces(t *testing.T) {
	t.Parallel()
	s := unixSite(t, named("c-threads"), abstract(t), "workers=2")
	installed(t, "unshare")
	script := filepath.Join(s.dir, "start")
	text := fmt.Sprintf("#!/bin/sh\nunshare --map-root-user --net %[1]s path=%[2]s workers=2 &\nuntil grep -q %[2]s /proc/$!/net/unix 2>/dev/null; do sleep 0.01; done\n"+
		"exec %[1]s path=%[2]s workers=2\n", s.program(), s.socket)
	if err := writeProgram(script, []byte(text)); err != nil {
		t.Fatal(err)
	}
	i := launchAt(t, s.dir, launch{argv: []string{script}})
	s.awaitAnswer()
	k := knock(t, unix.SOCK_STREAM, s.socket)
	for n := 1; n <= 3; n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		i.restart("--wait-drained")
		a := s.awaitAnswer()
		own, _ := os.Readlink("/proc/self/ns/net")
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", a.pid))
		if err != nil || its != own || a.version != version {
			t.Errorf("%+v answers, in %s; this is %s", a, its, own)
		}
		programs := 0
		for _, pid := range i.programs() {
			if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); strings.Contains(exe, "release") {
				programs++
			}
		}
		if programs != 2 {
			t.Errorf("%d servers run, not one in each namespace", programs)
		}
	}
	k.noneRefused(t)
}

// TestUnixEndsEarly: a version that ends by itself, and unlinks its path, while its
// successor has the socket and does not accept yet, takes nothing away.
func TestUnixEndsEarly(t *testing.T) {
	t.Parallel()
	for _, unlink := range []string{"end", "both"} {
		t.Run(unlink, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(tempDir(t), "socket")
			s := unixSite(t, named("c-threads"), path, "unlink="+unlink, "listening=2000")
			i := start(s)
			first := i.serving().PID
			s.deploy("v2")
			out := make(chan string)
			go func() {
				o, code := i.hupt("restart", "--wait-drained")
				out <- fmt.Sprintf("%s\nexit code %d", o, code)
			}()
			await(t, "the new one has the socket", func() bool {
				return slices.ContainsFunc(i.status().Generations, func(g supervisor.GenerationStatus) bool {
					return g.State == "starting" && len(g.Sockets) > 0
				})
			})
			unix.Kill(first, unix.SIGTERM)
			for ended := false; !ended; time.Sleep(5 * time.Millisecond) {
				select {
				case o := <-out:
					ended = true
					if !strings.HasSuffix(o, "exit code 0") {
						t.Error(o)
					}
				default:
				}
				c, err := s.dial()
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
			if who := s.awaitAnswer(); who.version != "v2" {
				t.Errorf("%s serves", who.version)
			}
		})
	}
}
