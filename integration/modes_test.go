package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hupt/load"
)

// modeFlags are the ways to restart in which the old version goes first.
var modeFlags = []string{"--order=stop-first"}

// TestStopFirst: a server that can't run twice, since it locks a file, is
// restarted over and over under load, and connections wait meanwhile.
func TestStopFirst(t *testing.T) {
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
var badLater = regexp.MustCompile("^(not executable|no interpreter|exit:3|taken:.*|bound|deaf|dies:200)$")

// TestBadVersionsLater: a bad version that is only found to be bad when the old
// one has gone costs nothing either: what served before is started again.
func TestBadVersionsLater(t *testing.T) {
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
	out, code := i.hupt("restart", "--timeout", "2s")
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
				i.restart()
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

// TestRefusedEarly: what is known to be wrong before the old version is
// touched costs it nothing.
func TestRefusedEarly(t *testing.T) {
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
	for _, flag := range modeFlags {
		t.Run(strings.Trim(flag, "-"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("go"))
			i := start(s, flag, "--drain-timeout", "1s")
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
