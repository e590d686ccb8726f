package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hupt/supervisor"
)

// pool starts a victim with --multi and waits until so many processes serve.
func pool(t *testing.T, name string, processes int, flags ...string) (*site, *instance) {
	t.Helper()
	s := newSite(t, named(name))
	i := start(s, append([]string{fmt.Sprintf("--multi=%d", processes)}, flags...)...)
	i.serve(processes)
	return s, i
}

// serve waits until exactly so many processes of a pool serve, and nothing else
// is left.
func (i *instance) serve(processes int) (pids []int) {
	i.t.Helper()
	await(i.t, fmt.Sprintf("%d processes serve", processes), func() bool {
		pids = nil
		st := i.status()
		for _, g := range st.Generations {
			if g.State == "serving" && len(g.Sockets) > 0 {
				pids = append(pids, g.PID)
			}
		}
		return len(pids) == processes && len(st.Generations) == processes && st.Processes == processes
	})
	slices.Sort(pids)
	return pids
}

// versions asks until every one of pids has answered, and fails if anybody else
// does, or with another version.
func (i *instance) versions(s *site, pids []int, version string) {
	i.t.Helper()
	seen := map[int]bool{}
	for range 400 {
		who, err := s.answer()
		if err != nil {
			i.t.Fatal(err)
		}
		if who.version != version || !slices.Contains(pids, who.pid) {
			i.t.Fatalf("%s (pid %d) answers, not %s (pids %v)", who.version, who.pid, version, pids)
		}
		if seen[who.pid] = true; len(seen) == len(pids) {
			return
		}
	}
}

// TestPoolRestart: all processes of a pool are replaced under load, at once or
// one after the other, by a command or by one signal to everybody.
func TestPoolRestart(t *testing.T) {
	t.Parallel()
	// Not python-select: one thread with a blocking listener can't share it (README).
	for _, name := range []string{"go", "c-threads", "nginx", "python-http1.1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := pool(t, name, 3)
			run := begin(t, paced(s))
			before := i.serve(3)
			for n := range max(2, scale(6)) {
				version := fmt.Sprintf("v%d", n+1)
				s.deploy(version)
				switch n % 3 {
				case 0:
					i.restart("--wait-drained")
				case 1:
					i.restart("--rolling", "--wait-drained")
				case 2: // as killall does
					for _, pid := range before {
						unix.Kill(pid, unix.SIGHUP)
					}
					i.signal(syscall.SIGHUP)
					await(t, "the restart is over", func() bool { return i.status().Restarts == n+1 && i.status().State == "running" })
				}
				after := i.serve(3)
				for _, pid := range after {
					if slices.Contains(before, pid) {
						t.Errorf("pid %d has served before", pid)
					}
				}
				before = after
				if !s.v.fleeting && name != "nginx" {
					i.versions(s, after, version)
				}
			}
			if st := i.status(); st.Restarts != max(2, scale(6)) || st.Rollbacks != 0 || st.Cut != 0 {
				t.Errorf("%d restarts, %d rollbacks, %d cut", st.Restarts, st.Rollbacks, st.Cut)
			}
			noneFailed(t, "a pool of "+name, run.Stop())
		})
	}
}

// TestPoolScale: processes come and go under load, and nobody's connections go
// with them.
func TestPoolScale(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "c-threads"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := pool(t, name, 2)
			fast, slow := begin(t, paced(s)), begin(t, s.slow(300))
			for _, n := range []int{5, 1, 3, 2} {
				if out, code := i.hupt("scale", fmt.Sprint(n)); code != 0 || !strings.Contains(out, "done") {
					t.Fatalf("scale %d: exit code %d\n%s", n, code, out)
				}
				i.serve(n)
			}
			if st := i.status(); st.Cut != 0 {
				t.Errorf("%d connections cut", st.Cut)
			}
			noneFailed(t, name+" scaled", fast.Stop())
			noneFailed(t, name+" scaled, slow requests", slow.Stop())
		})
	}
}

// TestPoolUnix: the processes of a pool share a path that each of them unlinks
// before it binds it, and at its end.
func TestPoolUnix(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-threads"))
	s.socket, s.args = filepath.Join(s.dir, "s"), []string{"unlink=both"}
	i := start(s, "--multi=3")
	i.serve(3)
	run := begin(t, paced(s))
	for n, to := range []int{1, 4, 2} {
		version := fmt.Sprintf("v%d", n+1)
		s.deploy(version)
		i.restart("--wait-drained")
		if out, code := i.hupt("scale", fmt.Sprint(to)); code != 0 {
			t.Fatalf("scale %d: exit code %d\n%s", to, code, out)
		}
		i.versions(s, i.serve(to), version)
	}
	noneFailed(t, "a pool on a path", run.Stop())
	i.hupt("stop")
	if _, err := os.Stat(s.socket); !os.IsNotExist(err) {
		t.Errorf("the path is left: %v", err)
	}
}

// TestPoolBadVersion: rolling, a version that fails is tried in one process only;
// at once, all of them stay as they were. Neither costs a request.
func TestPoolBadVersion(t *testing.T) {
	t.Parallel()
	s, i := pool(t, "go", 3, "--rolling")
	run := begin(t, paced(s))
	before := i.serve(3)
	s.deployBad("dies:100")
	for _, flag := range []string{"--rolling", "--no-rolling"} {
		out, code := i.hupt("restart", flag, "--timeout", (2 * readyLimit).String())
		tried := strings.Count(out, "starting process")
		want := 3
		if flag == "--rolling" {
			want = 1
		}
		if code != 1 || tried != want || !strings.Contains(out, "exited with status 4") {
			t.Errorf("%s: exit code %d, %d processes tried\n%s", flag, code, tried, out)
		}
		if after := i.serve(3); !slices.Equal(before, after) {
			t.Errorf("%s: %v serve, not %v as before", flag, after, before)
		}
	}
	s.deploy("v1")
	i.restart("--wait-drained")
	i.versions(s, i.serve(3), "v1")
	noneFailed(t, "bad versions in a pool", run.Stop())
}

// TestPoolEnds: one that is killed leaves the others at work, a stop ends all.
func TestPoolEnds(t *testing.T) {
	t.Parallel()
	s, i := pool(t, "go", 3)
	pids := i.serve(3)
	unix.Kill(pids[0], unix.SIGKILL)
	await(t, "it is missed", func() bool { return len(i.status().Generations) == 2 })
	i.versions(s, pids[1:], "v0")
	if out, code := i.hupt("scale", "4"); code != 0 {
		t.Errorf("scale 4: exit code %d\n%s", code, out)
	}
	i.serve(4)
	if out, code := i.hupt("stop"); code != 0 {
		t.Errorf("stop: exit code %d\n%s", code, out)
	}
	if code := i.exitCode(); code != 143 {
		t.Errorf("exit code %d, not 143", code)
	}
}

// TestSharedPort: two instances with --multi have one port, by SO_REUSEPORT, and
// are restarted independently.
func TestSharedPort(t *testing.T) {
	t.Parallel()
	s, one := pool(t, "go", 1)
	other := newSite(t, named("go"))
	other.port = s.port
	two := launchAt(t, other.dir, launch{flags: []string{"--multi=1"}, argv: other.argv(), env: other.env()})
	await(t, "the second one serves", func() bool {
		st, err := two.look()
		return err == nil && len(st.Generations) == 1 && len(st.Generations[0].Sockets) == 1
	})
	run := begin(t, paced(s))
	for n := range few(3) {
		s.deploy(fmt.Sprintf("v%d", n+1))
		other.deploy(fmt.Sprintf("v%d", n+1))
		one.restart("--wait-drained")
		two.restart("--wait-drained")
	}
	one.versions(s, []int{one.serving().PID, two.serving().PID}, fmt.Sprintf("v%d", few(3)))
	noneFailed(t, "two instances on one port", run.Stop())
}

// TestPoolEnd: what is told at the end, and the exit code, are those of a process
// that ran, not of one that was never started.
func TestPoolEnd(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	hook := "mkdir first 2>/dev/null || { sleep 1; exit 4; }"
	i := launchAt(t, dir, launch{flags: []string{"--multi", "2", "--hook", "before-start=" + hook}, argv: []string{"sh", "-c", "sleep 0.3; exit 3"}})
	if code := i.exitCode(); code != 3 || i.says("hupt: the program ended: it exited with status 3 ") != 1 || i.says("it exited with status 4") != 1 {
		t.Errorf("exit code %d: %s", code, i.tail())
	}
}

// TestNoPool: what is for pools is refused elsewhere, in a line.
func TestNoPool(t *testing.T) {
	t.Parallel()
	i := start(newSite(t, named("go")))
	out, code := i.hupt("scale", "2")
	if code != 1 || out != "hupt: "+supervisor.ErrNoPool.Error()+"\n" {
		t.Errorf("exit code %d, %q", code, out)
	}
}

// TestPoolHangupWhileScaling: a HUP that comes while processes are added is carried
// out when they are there.
func TestPoolHangupWhileScaling(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-threads"))
	s.args = []string{"startup=1000"}
	i := start(s, "--multi", "1")
	if out, code := i.hupt("scale", "2", "--no-wait"); code != 0 {
		t.Fatalf("scale: exit code %d\n%s", code, out)
	}
	i.signal(unix.SIGHUP)
	await(t, "it is restarted", func() bool { st := i.status(); return st.State == "running" && st.Restarts == 1 })
	if st := i.status(); st.Processes != 2 || len(st.Generations) < 2 {
		t.Errorf("%+v", st)
	}
}

// TestPoolRestartBesideGoing: a process that scaling takes away, and that is not done with
// its connections, has no part in a restart.
func TestPoolRestartBesideGoing(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-threads"))
	i := start(s, "--multi", "3", "--drain=tcp", "--drain-timeout=600s")
	i.serve(3)
	// Each process has some of these, which are never asked anything.
	for range 24 {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET / HTTP/1.1\r\n")
	}
	if out, code := i.hupt("scale", "2", "--no-wait"); code != 0 {
		t.Fatalf("scale: exit code %d\n%s", code, out)
	}
	await(t, "it is scaled", func() bool { st := i.status(); return st.State == "running" && st.Processes == 2 })
	s.deploy("v1")
	i.restart()
	if st := i.status(); st.Restarts != 1 || st.Rollbacks != 0 {
		t.Errorf("%d restarts, %d rolled back\n%s", st.Restarts, st.Rollbacks, i.tail())
	}
}
