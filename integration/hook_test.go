package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHooks: `nginx -t` before each start refuses a configuration that is
// wrong, with nginx' own words and nothing touched; the other hooks see a
// restart go by, and one that hangs holds nothing up and leaves nothing.
func TestHooks(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("nginx"))
	log := filepath.Join(s.dir, "hooks")
	flags := []string{"--hook-timeout", "2s", "--hook", "before-start=" + strings.Join(s.argv(), " ") + " -t"}
	for _, e := range []string{"started", "ready", "quiesced", "drained", "failed", "stopped"} {
		flags = append(flags, "--hook", e+"=echo $HUPT_EVENT $HUPT_GENERATION >> "+log)
	}
	flags = append(flags, "--hook", "quiesced=sleep 1000 & sleep 1000")
	i := start(s, flags...)
	run := begin(t, paced(s))
	s.deploy("v1")
	i.restart("--wait-drained")
	newLineage(i).isNew(s, "v1")

	before := i.serving().PID
	s.install([]byte("no_such_directive on;\n"), 0o644)
	out, code := i.hupt("restart")
	if code != 1 || !strings.Contains(out, "hook before-start") || strings.Contains(out, "starting generation") {
		t.Errorf("a wrong configuration: exit code %d\n%s", code, out)
	}
	t.Log(strings.TrimSpace(out))
	if i.serving().PID != before {
		t.Error("another generation serves")
	}
	s.deploy("v2")
	i.restart("--wait-drained")
	await(t, "the hook that hangs is killed", func() bool { return i.says("it took more than 2s") == 2 })
	noneFailed(t, "restarts with hooks", run.Stop())
	i.signal(unix.SIGTERM)
	i.exitCode()
	text, _ := os.ReadFile(log)
	want := "started 1\nready 1\nstarted 2\nready 2\nquiesced 1\ndrained 1\nstopped 1\nfailed 3\nstarted 4\nready 4\nquiesced 2\ndrained 2\nstopped 2\nstopped 4\n"
	if string(text) != want {
		t.Errorf("the hooks saw:\n%s\nnot:\n%s", text, want)
	}
}

// TestHooksInAStorm: hooks are children of hupt beside a program that forks for
// every connection; each of them is waited for, whoever else ends.
func TestHooksInAStorm(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-fork-per-connection"))
	log := filepath.Join(s.dir, "hooks")
	i := start(s, "--hook", "before-start=exit $(( HUPT_GENERATION % 2 ? 0 : 9 ))", "--hook", "failed=echo $HUPT_GENERATION >> "+log)
	run := begin(t, paced(s))
	want := ""
	for n := 2; n <= 9; n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		out, code := i.hupt("restart")
		if code != (n+1)%2 {
			t.Errorf("generation %d: exit code %d\n%s", n, code, out)
		}
		if n%2 == 0 {
			want += fmt.Sprintln(n)
			if !strings.Contains(out, "exited with status 9") {
				t.Error(out)
			}
		}
	}
	noneFailed(t, "hooks beside forks", run.Stop())
	await(t, "all hooks have run", func() bool { text, _ := os.ReadFile(log); return string(text) == want })
}
