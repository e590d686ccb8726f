package smoke

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hupt/internal/machine"
)

// hupts's own failures have codes that a program may use, too: what counts is
// whether hupt said so.
func TestHow(t *testing.T) {
	for name, tt := range map[string]struct {
		script string
		want   Outcome
		reason string
	}{
		"forbidden":       {"echo 'hupt: seize: ptrace is forbidden here; see: hupt doctor' >&2; exit 120", Forbidden, "ptrace"},
		"no seccomp":      {"echo 'hupt: seccomp filters are not available here' >&2; exit 121", Forbidden, "seccomp"},
		"not found":       {"echo 'hupt: ./x: command not found' >&2; exit 127", WrongUsage, "not found"},
		"the program's":   {"echo 'hupt: starting generation 1 (pid 7)' >&2; exit 120", Died, "exited with code 120"},
		"as it ended":     {"echo 'hupt: warning: no_new_privs had to be set' >&2; echo 'hupt: the program ended: it exited with status 127 after 0.10 s' >&2; exit 127", Died, "it exited with code 127"},
		"a signal's":      {"kill -SEGV $$", Died, "it died of SIGSEGV"},
		"last words":      {"echo 'hupt: generation 1 failed: bind: address in use' >&2; exit 1", Died, "bind: address in use"},
		"hupt's own":      {"echo 'hupt: out of memory' >&2; exit 125", Died, "out of memory"},
		"answers nothing": {"sleep 60", NeverReady, "did not answer on its control socket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hupt := filepath.Join(t.TempDir(), "hupt")
			if err := os.WriteFile(hupt, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			r, err := Run(t.Context(), Options{Hupt: hupt, Command: []string{"./server"}, ReadyTimeout: machine.Patience(500 * time.Millisecond), StopTimeout: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if r.Outcome != tt.want || !strings.Contains(r.Reason, tt.reason) || r.ExitCode != int(tt.want) {
				t.Errorf("%v: %s", r.Outcome, r.Reason)
			}
			for _, c := range r.Checks {
				if c.Status == Pass {
					t.Errorf("%s passed: %s", c.Name, c.Figure)
				}
			}
		})
	}
}

func TestUsage(t *testing.T) {
	server := []string{"./server"}
	for name, o := range map[string]Options{
		"no command":     {},
		"no such hupt":   {Hupt: "/nonexistent/hupt", Command: server},
		"url":            {Hupt: "x", Command: server, URL: "localhost:80"},
		"rate":           {Hupt: "x", Command: server, Rate: 0.5},
		"clients":        {Hupt: "x", Command: server, Clients: 1},
		"duration":       {Hupt: "x", Command: server, Every: -time.Second},
		"no upgrade":     {Hupt: "x", Command: server, Upgrade: "/nonexistent"},
		"upgrade a dir":  {Hupt: "x", Command: server, Upgrade: "/"},
		"bad not found":  {Hupt: "x", Command: server, BadVersion: "/nonexistent"},
		"link not found": {Hupt: "x", Command: []string{"/nonexistent/server"}, BadStart: true},
	} {
		if r, err := Run(t.Context(), o); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

// A server's output is read on for ever, and kept in bounds.
func TestTail(t *testing.T) {
	tail := newTail(3)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go tail.read(r)
	long := strings.Repeat("x", 1<<20)
	for _, line := range []string{"one", "two", long, "t\x1b[31mhree", "f\xffour"} {
		if _, err := w.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	w.WriteString("no end")
	w.Close()
	tail.wait(machine.Patience(5 * time.Second))
	got := tail.last(10)
	if len(got) != 3 || got[0] != "t·[31mhree" || got[1] != "f·our" || got[2] != "no end" {
		t.Errorf("%q", got)
	}
}

// What a version is can be told for a program and for a script.
func TestVersions(t *testing.T) {
	dir := t.TempDir()
	v, err := newVersions(dir, &Options{Command: []string{"/bin/sleep"}, BadStart: true})
	if err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(v.link); err != nil || to != "/bin/sleep" || filepath.Base(v.link) != "sleep" {
		t.Errorf("%s leads to %s: %v", v.link, to, err)
	}
	p, err := os.StartProcess(v.bad, []string{v.bad}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := p.Wait()
	if err != nil || st.ExitCode() != 42 {
		t.Errorf("the program that must fail: %v, %v", st, err)
	}
	if got := v.runs(os.Getpid(), "/proc/self/exe"); got != "/proc/self/exe" {
		t.Errorf("this process runs %s", got)
	}
	if got := v.runs(os.Getpid(), "/bin/sleep"); got == "/bin/sleep" {
		t.Error("this process is not sleep")
	}
}
