package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// exitPanic is hupt's exit code when it ended by a fault of its own.
const exitPanic = 122

// TestPanic: hupt fails wherever it may, under load. What it supervises serves
// on, and whoever reads its words learns what became of it.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, fault string
		victim      string
		flags       []string
	}{
		{"in the loop", "loop=panic", "go", nil},
		{"in a call of the tracer", "call=panic*99", "c-threads", nil},
		{"at every stop", "stop=panic*99", "c-threads", nil},
		{"in the loop of a pool", "pool=panic", "go", []string{"--multi", "2"}},
		{"in the loop of a process of a pool", "loop=panic", "go", []string{"--multi", "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(c.victim))
			now := filepath.Join(s.dir, "now")
			i := launchAt(t, s.dir, launch{flags: c.flags, argv: s.argv(), env: s.env(), faults: c.fault + "?" + now})
			s.awaitAnswer()
			await(t, "it serves", func() bool { return i.says(" serves after") > 0 })
			run := begin(t, paced(s))
			i.orphans, i.heirs = true, childrenOf(i.pid)
			if err := os.WriteFile(now, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			// Something to do for whoever is to fail.
			for end := time.Now().Add(patience); time.Now().Before(end) && !i.waitEnd(50*time.Millisecond); {
				unix.Kill(i.pid, unix.SIGWINCH) // passed on; ignored by default, as the next
				for _, pid := range i.programs() {
					unix.Kill(pid, unix.SIGURG) // ignored by default: a stop and no more
				}
			}
			if code := i.exitCode(); code != exitPanic {
				t.Errorf("hupt ended with %d", code)
			}
			time.Sleep(200 * time.Millisecond)
			noneFailed(t, c.victim, run.Stop())
			if a, err := s.answer(); err != nil || a.version != "v0" {
				t.Errorf("without hupt %v answers: %v", a, err)
			}
			if i.says("internal error: deliberate, at") != 1 || i.says("without hupt") != 1 || i.says("goroutine") == 0 {
				t.Errorf("hupt said:\n%s", i.tail())
			}
		})
	}
}

// TestPanicAtStop: one that costs a stop costs nothing else.
func TestPanicAtStop(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "c-threads", "nginx"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(name))
			now := filepath.Join(s.dir, "now")
			i := launchAt(t, s.dir, launch{argv: s.argv(), env: s.env(), faults: "stop=panic*2?" + now})
			s.awaitAnswer()
			run := begin(t, paced(s))
			if err := os.WriteFile(now, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			await(t, "it has failed", func() bool {
				for _, pid := range i.programs() {
					unix.Kill(pid, unix.SIGURG)
				}
				return i.says("internal error, which") == 2
			})
			s.deploy("v1")
			i.restart()
			noneFailed(t, name, run.Stop())
			if a := s.awaitAnswer(); a.version != "v1" {
				t.Errorf("%v answers after the restart", a)
			}
		})
	}
}

// TestPanicInStatus: one of whoever only looks costs the answer, and nothing else.
func TestPanicInStatus(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"one": nil, "pool": {"--multi", "2"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("go"))
			now := filepath.Join(s.dir, "now")
			i := launchAt(t, s.dir, launch{flags: flags, argv: s.argv(), env: s.env(), faults: "call=panic?" + now})
			await(t, "all of it serves", func() bool { return i.says(" serves after") == max(1, len(flags)) })
			if err := os.WriteFile(now, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, code := i.hupt("status"); code != 7 {
				t.Errorf("status of one that fails at it: exit code %d\n%s", code, out)
			}
			await(t, "hupt tells of it", func() bool { return i.says("internal error, which") == 1 })
			if out, code := i.hupt("status"); code != 0 {
				t.Errorf("the next status: exit code %d\n%s", code, out)
			}
			s.deploy("v1")
			i.restart()
		})
	}
}

// TestPanicInRestart: whatever a restart was in the middle of, one version is
// left, and it serves. A version that was only on its way is not.
func TestPanicInRestart(t *testing.T) {
	t.Parallel()
	for mode, points := range map[string][]string{
		"start-first": {"prepare", "launch", "launched", "quiesce"},
		"stop-first":  {"prepare", "quiesce"}, // later, what served has gone
		"exec":        {"prepare", "quiesce", "execute"},
	} {
		for _, point := range points {
			t.Run(mode+"/"+point, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, named("c-threads"))
				now := filepath.Join(s.dir, "now")
				flags := []string{"--order", mode}
				if mode == "exec" {
					flags = []string{"--exec"}
				}
				i := launchAt(t, s.dir, launch{flags: flags, argv: s.argv(), env: s.env(), faults: point + "=panic?" + now})
				s.awaitAnswer()
				i.orphans, i.heirs = true, childrenOf(i.pid)
				if err := os.WriteFile(now, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				i.hupt("restart", "--no-wait")
				if code := i.exitCode(); code != exitPanic {
					t.Errorf("hupt ended with %d\n%s", code, i.tail())
				}
				a, err := s.answer()
				if err != nil {
					t.Errorf("nobody answers: %v\n%s", err, i.tail())
				}
				await(t, "one version is left", func() bool {
					pids := i.programs()
					return point == "quiesce" || len(pids) == 1 && pids[0] == a.pid
				})
			})
		}
	}
}
