package integration

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOtherCommand: a restart with another command, environment and directory
// serves, is what a HUP starts from then on, and is undone by a rollback; one
// that fails changes nothing. All of it under load.
func TestOtherCommand(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	other := filepath.Join(s.dir, "other")
	if err := writeProgram(other, bake(t, s.v.program, "other")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := func(pid int) string {
		text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		cwd, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
		var kept []string
		for kv := range strings.SplitSeq(string(text), "\x00") {
			if strings.HasPrefix(kv, "MINE=") || strings.HasPrefix(kv, "YOURS=") {
				kept = append(kept, kv)
			}
		}
		return strings.Join(kept, " ") + " in " + filepath.Base(cwd)
	}
	i := launchAt(t, s.dir, launch{argv: s.argv(), env: append(s.env(), "MINE=1", "YOURS=1")})
	s.awaitAnswer()
	before := env(i.serving().PID)
	run := begin(t, paced(s))
	seen := newLineage(i)

	command := append([]string{other}, s.argv()[1:]...)
	i.restart(append([]string{"--env", "MINE=2", "--unset", "YOURS", "--chdir", filepath.Join(s.dir, "sub"), "--"}, command...)...)
	seen.isNew(s, "other")
	if got := env(i.serving().PID); got != "MINE=2 in sub" {
		t.Errorf("the other command runs with %s", got)
	}

	for _, bad := range [][]string{
		{"--", "/nosuch/program"},
		{"--chdir", "/nosuch"},
		{"--", "false"},
		{"--env", "MINE=3", "--", "sh", "-c", "exit 3"},
	} {
		if out, code := i.hupt("restart", bad...); code != 1 || strings.Count(out, "hupt: ") != 1 {
			t.Errorf("hupt restart %q: exit code %d\n%s", bad, code, out)
		}
	}
	i.signal(unix.SIGHUP)
	await(t, "a restart by HUP", func() bool { return i.status().Restarts == 2 })
	seen.isNew(s, "other")
	if got := env(i.serving().PID); got != "MINE=2 in sub" {
		t.Errorf("after failed restarts and a HUP, it runs with %s", got)
	}

	if out, code := i.hupt("rollback"); code != 0 {
		t.Fatalf("hupt rollback: exit code %d\n%s", code, out)
	}
	seen.isNew(s, "v0")
	if got := env(i.serving().PID); got != before {
		t.Errorf("after the rollback it runs with %s, not %s", got, before)
	}
	if out, code := i.hupt("rollback"); code != 1 || !strings.Contains(out, "no command before") {
		t.Errorf("a second rollback: exit code %d\n%s", code, out)
	}
	noneFailed(t, "other commands", run.Stop())
}
