package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pidIn is the pid in a file, 0 if there is none.
func pidIn(path string) int {
	b, _ := os.ReadFile(path)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// TestPidfile: hupt's own pidfile never changes, the program's names whoever
// serves, and a program that keeps its own (and does not start while it names
// a process that lives) is restarted with --unlink: the file is never wrong in
// the end, though the old version removes it when it goes.
func TestPidfile(t *testing.T) {
	t.Parallel()
	v := &victim{name: "python-pidfile", template: "py/pidfile_server.py", tag: bodyTag, check: checkBody, argv: func(s *site) []string {
		return []string{s.executable("python3"), s.program()}
	}}
	s := newSite(t, v)
	run, files := filepath.Join(s.dir, "hupt.pid"), filepath.Join(s.dir, "program.pid")
	own := filepath.Join(s.dir, "server.pid")
	i := start(s, "--pidfile", run, "--program-pidfile", "program.pid", "--unlink", own)
	seen := newLineage(i)
	o := paced(s)
	o.Rate, o.Clients = 50, 8 // a thread for each connection, under one lock
	load := begin(t, o)
	right := func(when string) {
		t.Helper()
		serving := i.serving().PID
		if a, b, c := pidIn(run), pidIn(files), pidIn(own); a != i.pid || b != serving || c != serving {
			t.Errorf("%s: the pidfiles say hupt %d, program %d, its own %d; it is hupt %d, program %d", when, a, b, c, i.pid, serving)
		}
	}
	right("at the start")
	for n := 1; n <= few(3); n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		i.restart("--wait-drained")
		seen.isNew(s, version)
		right("after restart " + version)
		s.deploy("bad")
		if out, code := i.hupt("restart"); code != 1 {
			t.Errorf("a version that ends at once: exit code %d\n%s", code, out)
		}
		right("after a restart that failed")
	}
	noneFailed(t, "restarts with pidfiles", load.Stop())
	i.signal(unix.SIGTERM)
	i.exitCode()
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*.pid*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestPidfileRefused: what can't be written is refused before anything runs.
func TestPidfileRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-threads"))
	for _, flag := range []string{"--pidfile", "--program-pidfile"} {
		i := launchAt(t, s.dir, launch{argv: s.argv(), flags: []string{flag, "nosuch/dir/pid"}})
		if code := i.exitCode(); code != 2 || !strings.Contains(i.tail(), "hupt: the pidfile can't be written") {
			t.Errorf("%s: exit code %d\n%s", flag, code, i.tail())
		}
	}
	// That of an instance that runs is not overwritten.
	i := start(s, "--pidfile", "hupt.pid")
	other := launchAt(t, tempDir(t), launch{argv: s.argv(), flags: []string{"--pidfile", filepath.Join(s.dir, "hupt.pid")}})
	if code := other.exitCode(); code != 2 || !strings.Contains(other.tail(), "which runs") {
		t.Errorf("exit code %d\n%s", code, other.tail())
	}
	if pid := pidIn(filepath.Join(s.dir, "hupt.pid")); pid != i.pid {
		t.Errorf("the pidfile says %d, not %d", pid, i.pid)
	}
}
