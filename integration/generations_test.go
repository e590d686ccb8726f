package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/load"
)

// TestSeveralDrain: restarts that follow each other faster than requests end
// leave several old generations that drain at once, and none is cut short.
func TestSeveralDrain(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	i := start(s, "--drain-timeout", "never") // three restarts take a minute where it is slow
	release := filepath.Join(s.dir, "release")
	var runs []*loading
	for n := 1; n <= 3; n++ {
		o := withRequests(s.slow(0), clients)
		o.Path = "/slow?until=" + release
		o.Timeout = 10 * patience // the first wait through all that follows here
		runs = append(runs, begin(t, o))
		await(t, "the slow requests are all in flight", func() bool {
			waiting, _ := filepath.Glob(filepath.Join(s.dir, "waiting-*"))
			return len(waiting) == n*clients
		})
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		i.restart()
		newLineage(i).isNew(s, version)
	}
	draining := 0
	for _, g := range i.status().Generations {
		if g.State == "draining" {
			draining++
			if g.Connections == 0 {
				t.Errorf("generation %d drains without a connection", g.Number)
			}
		}
	}
	if draining != 3 {
		t.Errorf("%d generations drain, not 3: %+v", draining, i.status().Generations)
	}
	if err := os.WriteFile(release, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for n, run := range runs {
		r := run.Wait()
		noneFailed(t, fmt.Sprintf("slow requests to generation %d", n+1), r)
		for who := range r.Tags {
			if !strings.Contains(who, fmt.Sprintf("version=v%d\n", n)) {
				t.Errorf("slow requests to generation %d were answered by %s", n+1, who)
			}
		}
	}
	await(t, "all old generations are gone", func() bool { return len(i.status().Generations) == 1 })
}

// TestBusy: a second restart before the first is decided is refused in words.
func TestBusy(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	s.args = []string{"-startup=2s"}
	i := start(s)
	s.deploy("v1")
	if out, code := i.hupt("restart", "--no-wait"); code != 0 {
		t.Fatalf("hupt restart --no-wait: exit code %d\n%s", code, out)
	}
	out, code := i.hupt("restart")
	if code == 0 || !strings.Contains(out, "a restart is in progress") || !strings.Contains(out, "generation 2") {
		t.Errorf("a second restart: exit code %d, %q", code, out)
	}
	await(t, "the first restart has succeeded", func() bool { return i.status().Restarts == 1 })
	newLineage(i).isNew(s, "v1")
}

// idlers opens kept connections that stay idle, and returns when they are up.
func idlers(t *testing.T, s *site, n int) *loading {
	t.Helper()
	o := s.load()
	o.Kind, o.Clients, o.Hold, o.Rate = load.LongLived, n, time.Hour, 100 // before a server takes the first for idle
	run := begin(t, o)
	awaitRequests(t, run, n, patience)
	return run
}

// TestHammer: connections that do not end by themselves are cut at the drain's
// deadline, counted and said: all of them, though it takes a program that ends a
// while to close so many.
func TestHammer(t *testing.T) {
	t.Parallel()
	const n = 800
	for _, name := range []string{"go", "nginx", "haproxy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(name))
			i := start(s, "--drain", "tcp", "--drain-timeout", "1s")
			idlers(t, s, n)
			s.deploy("v1")
			began := time.Now()
			out, code := i.hupt("restart", "--wait-drained")
			took := time.Since(began)
			t.Logf("%v:\n%s", took, out)
			if code != 0 || took < time.Second || took > time.Second+patience/3 {
				t.Errorf("exit code %d after %v", code, took)
			}
			if !strings.Contains(out, fmt.Sprintf("%d connections cut", n)) {
				t.Errorf("hupt restart --wait-drained does not say that %d connections were cut:\n%s", n, out)
			}
			if cut := i.status().Cut; cut != n {
				t.Errorf("hupt counts %d connections cut, not %d", cut, n)
			}
		})
	}
}

// TestHammerNow: without a deadline old generations stay as long as their
// connections do, until USR2 to hupt.
func TestHammerNow(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	i := start(s, "--drain-timeout=-1s")
	idlers(t, s, 3)
	s.deploy("v1")
	i.restart()
	time.Sleep(2 * time.Second)
	status := i.status()
	if len(status.Generations) != 2 || status.Generations[0].Connections != 3 {
		t.Fatalf("the old generation does not wait for its 3 connections: %+v", status.Generations)
	}
	i.signal(unix.SIGUSR2)
	await(t, "the old generation is gone after USR2", func() bool { return len(i.status().Generations) == 1 })
	if cut := i.status().Cut; cut != 3 {
		t.Errorf("hupt counts %d connections cut, not 3", cut)
	}
	newLineage(i).isNew(s, "v1")
}

// TestKillAfter: an old generation that ignores the stop signal is killed.
func TestKillAfter(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-threads"))
	argv := append([]string{"/bin/sh", "-c", `trap "" TERM; exec "$@"`, "sh"}, s.argv()...)
	i := launchAt(t, s.dir, launch{flags: []string{"--kill-after", "1s"}, argv: argv})
	s.awaitAnswer()
	old := i.serving().PID
	s.deploy("v1")
	began := time.Now()
	i.restart("--wait-drained")
	if took := time.Since(began); took < time.Second || took > time.Second+patience/3 {
		t.Errorf("the old generation was gone after %v, with --kill-after 1s", took)
	}
	if state, _ := statOf(old); state != "" {
		t.Errorf("pid %d is in state %s", old, state)
	}
	newLineage(i).isNew(s, "v1")
}

// TestSecondStop: two stop signals end at once a program that ignores them,
// whatever --kill-after says.
func TestSecondStop(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-threads"))
	argv := append([]string{"/bin/sh", "-c", `trap "" TERM; exec "$@"`, "sh"}, s.argv()...)
	i := launchAt(t, s.dir, launch{flags: []string{"--kill-after", "24h"}, argv: argv})
	s.awaitAnswer()
	i.signal(unix.SIGTERM)
	await(t, "it stops", func() bool { return i.status().State == "stopping" })
	time.Sleep(150 * time.Millisecond) // two within a tenth of a second are one order
	i.signal(unix.SIGTERM)
	if code := i.exitCode(); code != 137 {
		t.Errorf("exit code %d after a second SIGTERM, not 137", code)
	}
}

// TestProgramEnds: the end of the serving generation is hupt's end, also when
// it was restarted before; what still drains is not left behind.
func TestProgramEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	i := start(s)
	s.deploy("v1")
	i.restart("--wait-drained")
	unix.Kill(i.serving().PID, unix.SIGKILL)
	if code := i.exitCode(); code != 137 {
		t.Errorf("exit code %d, not 137", code)
	}
}

// TestStopCommand: hupt stop ends the program and waits for it.
func TestStopCommand(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "nginx", "c-prefork"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(name))
			i := start(s)
			if out, code := i.hupt("stop"); code != 0 {
				t.Errorf("hupt stop: exit code %d\n%s", code, out)
			}
			if state, _ := statOf(i.pid); state != "" && state != "Z" && state != "X" {
				t.Errorf("hupt runs on after hupt stop returned: %s", describe(i.pid))
			}
			i.waitEnd(patience)
			if left := i.left(); len(left) > 0 {
				t.Errorf("hupt stop left %v", left)
			}
		})
	}
}
