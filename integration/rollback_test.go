package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hupt/internal/machine"
	"hupt/load"
)

// badVersion is a new version that must not be let in.
type badVersion struct {
	name   string
	deploy func(*site)
	reason string // of hupt restart, a regular expression
}

// bakedBad is one of testdata/c/bad.c.
func bakedBad(how, reason string) badVersion {
	return badVersion{how, func(s *site) { s.deployBad(how) }, reason}
}

var badVersions = []badVersion{
	bakedBad("exit:3", `exit.*\b3\b`),
	bakedBad("exit:0", `exit.*\b0\b`),
	bakedBad("signal:9", `(?i)kill`),
	bakedBad("signal:11", `(?i)seg`),
	bakedBad("hang", `(?i)not ready|timed? ?-?out|within`),
	bakedBad("bound", `(?i)not ready|timed? ?-?out|within`),
	bakedBad("deaf", `(?i)not ready|timed? ?-?out|within`),
	bakedBad("dies:100", `exit.*\b4\b`),
	{"not executable", func(s *site) { s.install(bake(s.t, "bad", "exit:0"), 0o644) }, `(?i)permission denied|not executable`},
	{"missing", func(s *site) { s.pointTo(filepath.Join(s.dir, "nowhere")) }, `(?i)not found|no such file`},
	{"a directory", func(s *site) { s.pointTo(os.TempDir()) }, `(?i)permission denied|is a directory|not executable`},
	{"no interpreter", func(s *site) { s.install([]byte("#!/nowhere/sh\n"), 0o755) }, `(?i)not found|no such file`},
	{"shell syntax error", func(s *site) { s.install([]byte("#!/bin/sh\nif (\n"), 0o755) }, `exit.*\b2\b`},
}

// TestBadVersions: under load, every bad version is refused in words and
// costs nothing, the old one serves on, and a good restart right after works.
func TestBadVersions(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "c-threads", "c-epoll-edge"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(name))
			i := start(s)
			run := begin(t, paced(s))
			taken := occupiedPort(t)
			all := append(badVersions, bakedBad(fmt.Sprintf("taken:%d", taken),
				fmt.Sprintf(`bind 127\.0\.0\.1:%d: address already in use`, taken)))
			for n, bad := range all {
				rejects(t, i, s, run, bad, fmt.Sprintf("v%d", n+1))
			}
			noneFailed(t, fmt.Sprintf("%d bad versions", len(all)), run.Stop())
			if status := i.status(); status.Rollbacks != len(all) || status.Restarts != len(all) {
				t.Errorf("hupt counts %d restarts and %d rollbacks, not %d each", status.Restarts, status.Rollbacks, len(all))
			}
		})
	}
}

// TestBrokenCode: what a typing error does to scripts and configurations.
func TestBrokenCode(t *testing.T) {
	t.Parallel()
	for _, broken := range []struct{ name, content string }{
		{"python-http1.1", "def broken(:\n"},
		{"node", "function ( {\n"},
		{"nginx", "daemon off; http { server { listn 1; } }\n"},
		{"haproxy", "frontend f\n\tnonsense\n"},
		{"redis", "nonsense yes\n"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(broken.name))
			i := start(s)
			run := begin(t, paced(s))
			rejects(t, i, s, run, badVersion{"broken code",
				func(s *site) { s.install([]byte(broken.content), 0o644) }, `exit.*\b[1-9]\d*\b`}, "v1")
			noneFailed(t, broken.name, run.Stop())
		})
	}
}

// TestRollbackAfterQuiesce: a version that waits for connections on every
// socket and then dies is noticed when the old one has already been made
// deaf. It must hear again, whatever way it has of waiting.
func TestRollbackAfterQuiesce(t *testing.T) {
	t.Parallel()
	for _, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, v)
			i := start(s)
			run := begin(t, paced(s))
			for n := range max(1, scale(3)) {
				rejects(t, i, s, run, bakedBad("dies:100", `exit.*\b4\b`), fmt.Sprintf("v%d", n+1))
			}
			noneFailed(t, v.name, run.Stop())
		})
	}
}

// paced is a load of a steady 400 requests a second, 60 in the smallest suite,
// so that what takes long is seen to take long, and long tests do not starve the
// others.
func paced(s *site) load.Options {
	o := s.load()
	o.Rate = machine.Pace(float64(min(400, max(60, scale(4000)))), 20)
	o.Clients = 64
	return o
}

// rejects deploys a bad version and shows that it is not let in; then a good
// one, which is.
func rejects(t *testing.T, i *instance, s *site, run *loading, bad badVersion, good string) {
	t.Helper()
	before := i.serving()
	was, err := s.answer()
	if err != nil {
		t.Fatal(err)
	}
	bad.deploy(s)
	run.SetPhase(bad.name)
	began := time.Now()
	out, code := i.hupt("restart", "--timeout", readyLimit.String())
	took := time.Since(began)
	run.SetPhase("")
	line := strings.TrimSpace(out[strings.LastIndexByte(strings.TrimSpace(out), '\n')+1:])
	t.Logf("%-20s code %d after %v: %s", bad.name, code, took.Round(time.Millisecond), line)
	if code == 0 {
		t.Errorf("%s: hupt restart succeeds:\n%s", bad.name, out)
	}
	if !regexp.MustCompile(bad.reason).MatchString(out) {
		t.Errorf("%s: hupt restart does not give the reason %s:\n%s", bad.name, bad.reason, out)
	}
	if took > readyLimit+patience/2 {
		t.Errorf("%s: hupt restart took %v with --timeout %v", bad.name, took, readyLimit)
	}
	after := i.serving()
	if after.PID != before.PID || after.Number != before.Number {
		t.Errorf("%s: generation %d (pid %d) serves, not %d (pid %d) as before", bad.name, after.Number, after.PID, before.Number, before.PID)
	}
	if now, err := s.answer(); err != nil || now.version != was.version {
		t.Errorf("%s: %v answers, not %s: %v", bad.name, now, was.version, err)
	}
	s.deploy(good)
	run.SetPhase("good after " + bad.name)
	i.restart()
	run.SetPhase("")
	newLineage(i).isNew(s, good)
}

// occupiedPort returns a port that the test itself listens on.
func occupiedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}
