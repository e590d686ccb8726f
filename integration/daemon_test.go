package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// daemonized starts an instance with --background and returns it, once hupt has
// said that its program serves.
func daemonized(s *site, argv []string, flags ...string) *instance {
	s.t.Helper()
	i, out, code := tryDaemon(s, launch{flags: flags, argv: argv, env: s.env()})
	if code != 0 {
		s.t.Fatalf("hupt run --background: exit code %d\n%s", code, out)
	}
	return i
}

// tryDaemon takes of a launch what goes for hupt run --background.
func tryDaemon(s *site, l launch) (i *instance, out string, code int) {
	s.t.Helper()
	i = &instance{t: s.t, dir: s.dir, mark: fmt.Sprintf("%d-%08x", os.Getpid(), rand.Uint32()),
		runtime: filepath.Join(s.dir, "run"), output: filepath.Join(s.dir, "log"), ended: make(chan struct{}), uid: os.Getuid()}
	if l.uid != 0 {
		i.uid = l.uid
		i.ownRuntime()
	}
	args := append(l.before, binary(s.t, "hupt"), "run", "--runtime-dir", i.runtime, "--background", "--log", i.output)
	args = append(append(append(args, l.flags...), "--"), l.argv...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = s.dir, append(append(os.Environ(), markName+"="+i.mark), l.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run() // returns only if nobody left has its pipes
	if cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	i.cmd, i.pid = cmd, 0
	i.pid, _ = strconv.Atoi(strings.TrimSpace(stdout.String()))
	s.t.Cleanup(func() {
		if i.pid > 0 {
			unix.Kill(i.pid, unix.SIGTERM)
		}
		for range 400 {
			reap(i.pid)
			if left := marked(i.mark, -1, i.dir); len(left) == 0 {
				return
			}
			time.Sleep(25 * time.Millisecond)
		}
		left := marked(i.mark, -1, i.dir)
		for _, pid := range left {
			s.t.Errorf("left over: %s", describe(pid))
		}
		endAll(left)
	})
	return i, stdout.String() + stderr.String(), cmd.ProcessState.ExitCode()
}

// daemons are programs that go to the background by themselves.
func daemons() map[string]*victim {
	nginx := *named("nginx")
	argv := nginx.argv
	nginx.argv = func(s *site) []string { return append(argv(s), "-g", "daemon on;") }
	nginx.template = "conf/nginx-daemon.conf"
	redis := *named("redis")
	argv2 := redis.argv
	redis.argv = func(s *site) []string {
		return append(argv2(s), "--daemonize", "yes", "--pidfile", filepath.Join(s.dir, "redis.pid"))
	}
	double := *named("c-threads")
	argv3 := double.argv
	double.argv = func(s *site) []string {
		// As daemon(3) and then once more: setsid, fork, and nobody waits.
		return append([]string{"/bin/sh", "-c", `setsid sh -c '"$@" </dev/null >/dev/null 2>&1 & echo $! > daemon.pid' sh "$@"`, "sh"}, argv3(s)...)
	}
	return map[string]*victim{"nginx": &nginx, "redis": &redis, "double-fork": &double}
}

// TestDaemons: programs that daemonize (double fork, setsid, a pidfile of their
// own) under hupt in the foreground and in the background, restarted under load.
func TestDaemons(t *testing.T) {
	t.Parallel()
	for name, v := range daemons() {
		for _, where := range []string{"foreground", "background"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, v)
				var i *instance
				if where == "background" {
					i = daemonized(s, s.argv())
					if _, err := s.answer(); err != nil {
						t.Errorf("hupt is in the background and the program does not serve: %v", err)
					}
				} else {
					i = start(s)
				}
				run := begin(t, paced(s))
				seen := newLineage(i)
				for n := 1; n <= few(3); n++ {
					version := fmt.Sprintf("v%d", n)
					s.deploy(version)
					i.restart("--wait-drained")
					seen.isNew(s, version)
				}
				noneFailed(t, name, run.Stop())
				if st := i.status(); len(st.Generations) != 1 {
					t.Errorf("%d generations are left", len(st.Generations))
				}
				if out, code := i.hupt("stop"); code != 0 {
					t.Errorf("hupt stop: exit code %d\n%s", code, out)
				}
				await(t, "nothing is left", func() bool { reap(i.pid); return len(marked(i.mark, -1, "")) == 0 })
			})
		}
	}
}

// TestBackground: hupt's pid is printed and in the pidfile, what is written is
// in the log, and a program that can't start fails the command in words.
func TestBackground(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	s.args = []string{"-startup=500ms"}
	began := time.Now()
	i := daemonized(s, s.argv(), "--pidfile", "hupt.pid")
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("hupt is in the background after %v, before the program serves", took)
	}
	if pid := pidIn(filepath.Join(s.dir, "hupt.pid")); pid != i.pid || pid == 0 {
		t.Errorf("the pidfile says %d, hupt %d", pid, i.pid)
	}
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", i.pid)); err != nil || string(comm) != "hupt\n" {
		t.Errorf("its name is %q: %v", comm, err)
	}
	if sid, _ := unix.Getsid(i.pid); sid != i.pid {
		t.Errorf("hupt is in session %d", sid)
	}
	s.deploy("v1")
	i.restart()
	newLineage(i).isNew(s, "v1")
	if n := i.says("generation 2 serves"); n != 1 {
		t.Errorf("%d times in the log\n%s", n, i.tail())
	}
	if out, code := i.hupt("stop"); code != 0 {
		t.Errorf("hupt stop: exit code %d\n%s", code, out)
	}
	for _, c := range []struct {
		argv []string
		code int
		says string
	}{
		{[]string{"sh", "-c", "echo on my way; exit 7"}, 7, ""},
		{[]string{"true"}, 0, "the program ended before it served"},
		{[]string{"nosuch-program"}, 127, "hupt: nosuch-program: command not found"},
		{[]string{s.program(), "-addr", "256.0.0.1:x"}, 1, ""},
	} {
		i, out, code := tryDaemon(newSite(t, named("go")), launch{argv: c.argv})
		if code != c.code || !strings.Contains(out, c.says) || i.pid != 0 {
			t.Errorf("%q: exit code %d\n%s", c.argv, code, out)
		}
	}
	if _, out, code := tryDaemon(newSite(t, named("go")), launch{flags: []string{"--log", "nosuch/dir"}, argv: []string{"true"}}); code != 2 || !strings.Contains(out, "--log: open") {
		t.Errorf("a log that can't be written: exit code %d\n%s", code, out)
	}
}

// TestProbeBackground: with --background, too, the program finds everything as
// it would bare, the sockets that it is passed above all (sd_listen_fds(3)): but
// for what it writes to, and the session that hupt makes.
func TestProbeBackground(t *testing.T) {
	t.Parallel()
	others := regexp.MustCompile(`(?m)^(fd [12] |/proc/self/fdinfo/[12]:|group is the launcher's).*\n`)
	var seen []string
	for _, bare := range []bool{true, false} {
		dir := tempDir(t)
		writeData(t, dir)
		out := filepath.Join(dir, "probe.out")
		s := &site{t: t, v: named("c-threads"), dir: dir, host: "127.0.0.1", port: freePort(t)}
		l := launch{bare: bare, argv: []string{binary(t, "probe"), "x"}, before: []string{binary(t, "setup")},
			env: []string{"PROBE_OUT=" + out, fmt.Sprintf("PROBE_SERVE=%d", s.port)}}
		if bare {
			launchAt(t, dir, l)
			s.awaitAnswer()
		} else if _, said, code := tryDaemon(s, l); code != 0 {
			t.Fatalf("hupt run --background: exit code %d\n%s", code, said)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, strings.ReplaceAll(others.ReplaceAllString(normalised(string(text)), ""), dir, "DIR"))
	}
	if !strings.Contains(seen[0], "env LISTEN_PID=this process") || !strings.Contains(seen[0], "fd 3 socket:") {
		t.Fatalf("the probe says little:\n%s", seen[0])
	}
	diff(t, "a program", seen[0], seen[1])
}

// TestKillAll: a HUP to hupt, the master and all its workers at once, as
// `killall -HUP` sends it, is one restart; one that comes later is another.
func TestKillAll(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-prefork"))
	i := start(s)
	run := begin(t, paced(s))
	seen := newLineage(i)
	for n := 1; n <= max(4, few(6)); n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		pids := i.serving().PIDs
		if n%2 == 0 {
			pids = append(pids, i.pid)
		} else {
			pids = append([]int{i.pid}, pids...)
		}
		var args []string
		for _, pid := range pids {
			args = append(args, fmt.Sprint(pid))
		}
		if out, err := exec.Command(installed(t, "kill"), append([]string{"-HUP"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		await(t, "a restart", func() bool { return i.status().Restarts >= n })
		seen.isNew(s, version)
		time.Sleep(300 * time.Millisecond) // in which another one would begin
		if st := i.status(); st.Restarts != n || st.State != "running" {
			t.Fatalf("%d restarts after %d killalls, %s", st.Restarts, n, st.State)
		}
	}
	noneFailed(t, "killall", run.Stop())
}

// TestWaitChildren: a generation whose first process ended has gone only when
// its children have, and they are let be.
func TestWaitChildren(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	script := `(trap "" TERM; while [ ! -e end ]; do sleep 0.05; done; echo child-done) & exit 3`
	i := launchAt(t, dir, launch{argv: []string{"sh", "-c", script}, flags: []string{"--wait-children", "--kill-after", "1s"}})
	await(t, "it has begun", func() bool { return i.says("starting generation 1") == 1 })
	time.Sleep(1500 * time.Millisecond)
	if i.waitEnd(0) {
		t.Fatalf("hupt did not wait for the child\n%s", i.tail())
	}
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if code := i.exitCode(); code != 3 || i.says("child-done") != 1 {
		t.Errorf("exit code %d\n%s", code, i.tail())
	}
}

// TestKillAtExit: with it, the program dies with hupt.
func TestKillAtExit(t *testing.T) {
	t.Parallel()
	for _, c := range [][]string{{"go"}, {"c-prefork"}, {"go", "--exec"}, {"c-prefork", "--exec"}} {
		s := newSite(t, named(c[0]))
		i := start(s, append(c[1:], "--kill-at-exit")...)
		s.deploy("v1")
		i.restart("--wait-drained")
		pids := i.serving().PIDs
		unix.Kill(i.pid, unix.SIGKILL)
		await(t, "all are dead", func() bool {
			for _, pid := range pids {
				reap(pid)
				if state, _ := statOf(pid); state != "" && state != "Z" {
					return false
				}
			}
			return true
		})
	}
}

// TestStdinFile: a standard input that is a file is read by each generation from
// where it stood at launch, however it is started; the output goes on where it
// was.
func TestStdinFile(t *testing.T) {
	t.Parallel()
	for _, flags := range append([]string{"--order=start-first"}, modeFlags...) {
		t.Run(strings.Trim(flags, "-"), func(t *testing.T) {
			t.Parallel()
			stdinFile(t, flags)
		})
	}
}

func stdinFile(t *testing.T, flags ...string) {
	s := newSite(t, named("c-threads"))
	message := filepath.Join(s.dir, "message")
	if err := os.WriteFile(message, []byte("skipped\nfirst line\nsecond line\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(message)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Seek(int64(len("skipped\n")), 0)
	argv := append([]string{"/bin/sh", "-c", `cat; exec "$@"`, "sh"}, s.argv()...)
	i := launchAt(t, s.dir, launch{flags: flags, argv: argv, env: s.env(), stdin: f})
	s.awaitAnswer()
	for n := 1; n <= 3; n++ {
		s.deploy(fmt.Sprintf("v%d", n))
		i.restart()
	}
	if n, m := i.says("first line\nsecond line\n"), i.says("skipped"); n != 4 || m != 0 {
		t.Errorf("the message was read %d times by 4 generations, and from before it %d times\n%s", n, m, i.tail())
	}
}
