package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/load"
)

// modeFlags are the ways to restart in which the old version goes first.
var modeFlags = []string{"--order=stop-first", "--exec"}

// TestStopFirst: a server that can't run twice, since it locks a file, is
// restarted over and over under load, and connections wait meanwhile.
func TestStopFirst(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"c-threads", "c-prefork", "c-epoll-edge", "go", "nginx", "python-http1.1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := *named(name)
			v.requests = v.total() / 10
			s := newSite(t, &v)
			if strings.HasPrefix(name, "c-") {
				s.args = []string{"lock=" + filepath.Join(s.dir, "lock")}
			}
			restartUnderLoad(t, s, "--order", "stop-first")
		})
	}
}

// badLater is one bad version for each stage at which one can fail when the old
// one has gone: before and at the exec, before bind, after it, after listen,
// after it was ready.
var badLater = regexp.MustCompile("^(not executable|no interpreter|exit:3|taken:.*|bound|deaf|dies:100)$")

// TestBadVersionsLater: a bad version that is only found to be bad when the old
// one has gone costs nothing either: what served before is started again.
func TestBadVersionsLater(t *testing.T) {
	t.Parallel()
	for _, flag := range modeFlags {
		for _, name := range []string{"go", "c-threads"} {
			t.Run(strings.Trim(flag, "-")+" "+name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, named(name))
				i := start(s, flag)
				run := begin(t, paced(s))
				taken := occupiedPort(t)
				var all []badVersion
				for _, bad := range append(badVersions[:len(badVersions):len(badVersions)], bakedBad(fmt.Sprintf("taken:%d", taken),
					fmt.Sprintf(`bind 127\.0\.0\.1:%d: address already in use`, taken))) {
					if badLater.MatchString(bad.name) {
						all = append(all, bad)
					}
				}
				for n, bad := range all {
					replaced(t, i, s, run, bad, fmt.Sprintf("v%d", n+1))
				}
				noneFailed(t, fmt.Sprintf("%d bad versions", len(all)), run.Stop())
				if status := i.status(); status.Rollbacks != len(all) || status.Restarts != len(all) || status.Cut != 0 {
					t.Errorf("hupt counts %d restarts, %d rollbacks and %d connections cut, not %d, %d and 0", status.Restarts, status.Rollbacks, status.Cut, len(all), len(all))
				}
			})
		}
	}
}

// replaced deploys a bad version and shows that the one before serves again,
// though its name leads to the bad one; then a good one, which is let in.
func replaced(t *testing.T, i *instance, s *site, run *loading, bad badVersion, good string) {
	t.Helper()
	was, err := s.answer()
	if err != nil {
		t.Fatal(err)
	}
	bad.deploy(s)
	run.SetPhase(bad.name)
	began := time.Now()
	out, code := i.hupt("restart", "--timeout", readyLimit.String())
	run.SetPhase("after " + bad.name)
	line := strings.TrimSpace(out[strings.LastIndexByte(strings.TrimSpace(out), '\n')+1:])
	t.Logf("%-20s code %d after %v: %s", bad.name, code, time.Since(began).Round(time.Millisecond), line)
	if code != 1 {
		t.Errorf("%s: hupt restart: exit code %d:\n%s", bad.name, code, out)
	}
	if !regexp.MustCompile(bad.reason).MatchString(out) {
		t.Errorf("%s: hupt restart does not give the reason %s:\n%s", bad.name, bad.reason, out)
	}
	if now, err := s.answer(); err != nil || now.version != was.version {
		t.Errorf("%s: %v answers, not %s: %v", bad.name, now, was.version, err)
	}
	if state := i.status().State; state != "running" {
		t.Errorf("%s: the instance is %s", bad.name, state)
	}
	s.deploy(good)
	run.SetPhase("good after " + bad.name)
	i.restart()
	run.SetPhase("")
	newLineage(i).isNew(s, good)
}

// TestRecovery: a script leaves nothing by which the version before could be
// started again once it was overwritten: connections wait, it is tried again
// and again, and the next good version serves them.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, flag := range modeFlags {
		t.Run(strings.Trim(flag, "-"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("python-http1.1"))
			i := start(s, flag)
			o := paced(s)
			o.Rate, o.Clients = 20, 200
			run := begin(t, o)
			for n := range 2 {
				s.install([]byte("def broken(:\n"), 0o644)
				run.SetPhase(fmt.Sprintf("broken %d", n))
				out, code := i.hupt("restart")
				if code != 1 || !strings.Contains(out, "could not be started again") {
					t.Errorf("hupt restart of a broken script: exit code %d:\n%s", code, out)
				}
				await(t, "it is tried again", func() bool {
					text, _ := os.ReadFile(i.output)
					return strings.Count(string(text), "tried again in 2.00 s") > n
				})
				if state := i.status().State; state != "recovering" {
					t.Errorf("the instance is %s", state)
				}
				version := fmt.Sprintf("v%d", n+1)
				s.deploy(version)
				i.restartRecovering()
				run.SetPhase("")
				newLineage(i).isNew(s, version)
			}
			noneFailed(t, "a broken script", run.Stop())
			// And a good one need not be asked for: the next attempt finds it.
			s.install([]byte("def broken(:\n"), 0o644)
			i.hupt("restart")
			s.deploy("v9")
			await(t, "the next attempt serves", func() bool { return i.status().State == "running" })
			if who := s.awaitAnswer(); who.version != "v9" {
				t.Errorf("%s answers, not v9", who.version)
			}
			i.restart()
		})
	}
}

// restartRecovering restarts what is being started again over and over. The next
// attempt may have come first and have found the mended version: then it serves,
// and until it has outlived its probation, a restart is refused, by design.
func (i *instance) restartRecovering() {
	i.t.Helper()
	out, code := i.hupt("restart")
	if code == 6 && strings.Contains(out, "is on probation") {
		await(i.t, "the attempt's probation is over", func() bool { return i.status().State == "running" })
		out, code = i.hupt("restart")
	}
	if code != 0 {
		i.t.Fatalf("hupt restart: exit code %d\n%s\n%s", code, out, i.tail())
	}
}

// TestRefusedEarly: what is known to be wrong before the old version is
// touched costs it nothing.
func TestRefusedEarly(t *testing.T) {
	t.Parallel()
	for _, flag := range modeFlags {
		t.Run(strings.Trim(flag, "-"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("go"))
			i := start(s, flag)
			before := i.serving()
			idle := idlers(t, s, 3)
			s.pointTo(filepath.Join(s.dir, "nowhere"))
			if out, code := i.hupt("restart"); code != 1 || !strings.Contains(out, "command not found; generation 1 serves on") {
				t.Errorf("exit code %d:\n%s", code, out)
			}
			if after := i.serving(); after.PID != before.PID || after.Number != before.Number {
				t.Errorf("%+v serves, not %+v", after, before)
			}
			if n := i.status().Cut; n != 0 {
				t.Errorf("%d connections were cut", n)
			}
			_ = idle
		})
	}
}

// TestModesHammer: idle connections hold such a restart up for the drain's
// time and no longer; they are cut, counted and told.
func TestModesHammer(t *testing.T) {
	t.Parallel()
	for _, flag := range modeFlags {
		t.Run(strings.Trim(flag, "-"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("go"))
			i := start(s, flag, "--drain", "tcp", "--drain-timeout", "1s")
			idlers(t, s, 5)
			run := begin(t, withRate(s, 50))
			s.deploy("v1")
			began := time.Now()
			i.restart()
			if took := time.Since(began); took < time.Second || took > time.Second+patience/3 {
				t.Errorf("it took %v, with --drain-timeout 1s", took)
			}
			newLineage(i).isNew(s, "v1")
			noneFailed(t, "requests while idle connections are waited for", run.Stop())
			if cut := i.status().Cut; cut != 5 {
				t.Errorf("hupt counts %d connections cut, not 5", cut)
			}
		})
	}
}

// withRate is the victim's ordinary load at so many requests a second.
func withRate(s *site, rate float64) load.Options {
	o := s.load()
	o.Rate, o.Clients = rate, 64
	return o
}

// TestExec: a program keeps its pid over restarts under load, and what it
// answers is new code each time. Of a master with workers, the master keeps its
// pid, and the workers go.
func TestExec(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "python-http1.1", "c-threads", "c-epoll-edge", "c-prefork", "nginx", "node"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := *named(name)
			v.requests = v.total() / 10
			s := newSite(t, &v)
			i := start(s, "--exec")
			restarts := max(few(5), scale(restartsPerServer))
			first := i.serving()
			pid := first.PID
			if len(first.PIDs) == 1 {
				if who := s.awaitAnswer(); who.pid != pid {
					t.Fatalf("getpid() is %d, not %d", who.pid, pid)
				}
			}
			run := begin(t, s.load())
			for n := 1; n <= restarts; n++ {
				awaitRequests(t, run, v.total()*n/(restarts+1), 4*patience)
				before := i.serving()
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				run.SetPhase(version)
				i.restart()
				run.SetPhase("")
				g := i.serving()
				if g.PID != pid || g.Number != n+1 {
					t.Fatalf("generation %d (pid %d) serves, not generation %d with pid %d", g.Number, g.PID, n+1, pid)
				}
				for _, old := range before.PIDs {
					if old != pid && slices.Contains(i.programs(), old) {
						t.Errorf("%s: %s is left of the version before", version, describe(old))
					}
				}
				for range 3 {
					who, err := s.answer()
					if err != nil || who.version != version || len(g.PIDs) == 1 && who.pid != pid {
						t.Errorf("after the restart to %s: %+v answers: %v", version, who, err)
					}
				}
			}
			r := run.Stop()
			noneFailed(t, fmt.Sprintf("%s, %d restarts, one pid", name, restarts), r)
			if st := i.status(); st.Restarts != restarts || st.Rollbacks != 0 || st.Cut != 0 {
				t.Errorf("hupt counts %d restarts, %d rollbacks, %d connections cut; want %d, 0, 0", st.Restarts, st.Rollbacks, st.Cut, restarts)
			}
			if n := i.says("Errno"); n > 0 {
				t.Errorf("the program saw %d errors", n)
			}
			if n := len(zombies(pid)); n > 0 {
				t.Errorf("%d zombies are left to pid %d", n, pid)
			}
		})
	}
}

// TestHangupInModes: a HUP does what `hupt run` was told.
func TestHangupInModes(t *testing.T) {
	t.Parallel()
	for _, flag := range append(modeFlags, "--order=start-first") {
		t.Run(strings.Trim(flag, "-"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("c-threads"))
			i := start(s, flag)
			pid := i.serving().PID
			run := begin(t, withRate(s, 100))
			for n := 1; n <= 3; n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				to := i.pid
				if n == 2 {
					to = i.serving().PID
				}
				unix.Kill(to, unix.SIGHUP)
				await(t, "a restart", func() bool { return i.status().Restarts == n })
				if who := s.awaitAnswer(); who.version != version {
					t.Errorf("%+v answers after HUP, not %s", who, version)
				}
			}
			noneFailed(t, "HUP", run.Stop())
			if stays := i.serving().PID == pid; stays != (flag == "--exec") {
				t.Errorf("pid %d serves, %d at first", i.serving().PID, pid)
			}
			if waited := i.says("connections wait") == 3; waited != (flag != "--order=start-first") {
				t.Errorf("%d times, connections waited", i.says("connections wait"))
			}
		})
	}
}

// TestExecKeepAlive: clients on kept connections that are in use are told to
// come back, and lose nothing, though the process that serves them is replaced.
func TestExecKeepAlive(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "nginx"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(name))
			i := start(s, "--exec")
			restartKept(i, s, func(version string) {
				if who, err := s.answer(); err != nil || who.version != version {
					t.Errorf("%+v answers, not %s: %v", who, version, err)
				}
			})
			if st := i.status(); st.Cut != 0 {
				t.Errorf("%d connections were cut", st.Cut)
			}
			// Nothing is left of what the drain was made with.
			before := i.status().Stops
			r := begin(t, withRequests(s.load(), 200)).Wait()
			noneFailed(t, "afterwards", r)
			after := i.status().Stops
			for _, kind := range []string{"watch", "seccomp:write", "seccomp"} {
				if n := after[kind] - before[kind]; n > 20 {
					t.Errorf("%d stops of kind %s for 200 requests", n, kind)
				}
			}
		})
	}
}

// TestExecRefused: a program that gave up what an execve can't give back is not
// touched.
func TestExecRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	s := newSite(t, named("c-threads"))
	argv := append([]string{"/bin/sh", "-c", `exec setpriv --reuid 65534 --clear-groups "$@"`, "sh"}, s.argv()...)
	i := launchAt(t, s.dir, launch{flags: []string{"--exec"}, argv: argv})
	s.awaitAnswer()
	before := i.serving()
	if out, code := i.hupt("restart"); code != 1 || !strings.Contains(out, "has changed its user, which can't be undone for the new program") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if after := i.serving(); after.PID != before.PID || after.Number != before.Number {
		t.Errorf("%+v serves, not %+v", after, before)
	}
	s.deploy("v1")
	i.restart("--order", "start-first")
	newLineage(i).isNew(s, "v1")
}

// TestExecWith: --exec beside the flags that concern more than one process.
func TestExecWith(t *testing.T) {
	t.Parallel()
	t.Run("multi", func(t *testing.T) {
		t.Parallel()
		s, i := pool(t, "c-threads", 3, "--exec")
		run := begin(t, paced(s))
		before := i.serve(3)
		for n, args := range [][]string{{}, {"--rolling"}, {"--wait-drained"}} {
			version := fmt.Sprintf("v%d", n+1)
			s.deploy(version)
			i.restart(args...)
			after := i.serve(3)
			if !slices.Equal(before, after) {
				t.Errorf("the pids were %v and are %v", before, after)
			}
			i.versions(s, after, version)
		}
		noneFailed(t, "a pool whose processes keep their pids", run.Stop())
	})
	t.Run("wait-children", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("c-prefork"))
		i := start(s, "--exec", "--wait-children")
		run := begin(t, paced(s))
		pid := i.serving().PID
		for n := range 3 {
			before := i.serving().PIDs
			version := fmt.Sprintf("v%d", n+1)
			s.deploy(version)
			i.restart()
			for _, old := range before {
				if old != pid && slices.Contains(i.programs(), old) {
					t.Errorf("%s: %s is left", version, describe(old))
				}
			}
			if who := s.awaitAnswer(); who.version != version || i.serving().PID != pid {
				t.Errorf("%+v answers; pid %d serves, it was %d", who, i.serving().PID, pid)
			}
		}
		noneFailed(t, "a program with children that keeps its pid", run.Stop())
	})
}
