package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/internal/machine"
)

// TestHooks: each event's hook is run, in order, and knows what it is about.
func TestHooks(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	r := start(t, func(c *Config, _ *fakeTracer) {
		c.Name = "web"
		for _, e := range HookEvents {
			c.Hooks = append(c.Hooks, Hook{e, `echo "$HUPT_EVENT $HUPT_NAME $HUPT_GENERATION/$HUPT_PROGRAM_PID $HUPT_SERVING/$HUPT_SERVING_PID ${HUPT_CUT+cut=$HUPT_CUT }${HUPT_EXIT_CODE+code=$HUPT_EXIT_CODE }$HUPT_REASON A=$A" >> ` + log})
		}
	})
	r.restarted(2, RestartOptions{Env: []string{"A=2"}})
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.gen(3)
	r.fakeTracer.end(3, 0x0300)
	r.kinds(events)
	r.fakeTracer.end(2, 0x0500)
	r.finish()
	// What may refuse a start does not wait for the others, so it is apart.
	want := `before-start web 1/ / A=1
before-start web 2/ 1/1001 A=2
before-start web 3/ 2/1002 A=2
started web 1/1001 / A=1
ready web 1/1001 / A=1
started web 2/1002 1/1001 A=2
ready web 2/1002 1/1001 A=2
quiesced web 1/1001 2/1002 A=1
drained web 1/1001 2/1002 A=1
stopped web 1/1001 2/1002 cut=0 code=143 it was killed by SIGTERM A=1
started web 3/1003 2/1002 A=2
failed web 3/ 2/1002 it exited with status 3 after TIME; generation 2 serves on A=2
stopped web 2/1002 / cut=0 code=5 it exited with status 5 A=2
`
	var got []string
	for line := range strings.Lines(content(log) + "\n") {
		if b, rest, ok := strings.Cut(line, " after "); ok {
			_, rest, _ = strings.Cut(rest, " s;")
			line = b + " after TIME;" + rest
		}
		got = append(got, strings.ReplaceAll(line, "  A=", " A="))
	}
	slices.SortStableFunc(got, func(a, b string) int {
		early := func(line string) bool { return strings.HasPrefix(line, string(HookBeforeStart)) }
		switch {
		case early(a) && !early(b):
			return -1
		case early(b) && !early(a):
			return 1
		}
		return 0
	})
	if strings.Join(got, "") != want {
		t.Errorf("hooks:\n%s\nwant:\n%s", strings.Join(got, ""), want)
	}
}

// TestBeforeStart: a check that fails, or hangs, refuses the restart before
// anything was touched, with its own words.
func TestBeforeStart(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	limit := machine.Patience(time.Second).Round(time.Second) // for a cat and a test, too
	r := start(t, func(c *Config, _ *fakeTracer) {
		c.Hooks = []Hook{{HookBeforeStart, "cat " + bad + " 2>/dev/null && exit 1; test ! -e " + bad + "2 || sleep 100"}}
		c.HookTimeout = limit
		c.Unlink = []string{filepath.Join(dir, "pid")}
	})
	put(t, filepath.Join(dir, "pid"), "old")
	for file, want := range map[string]string{"bad": "it exited with status 1: line 3: unknown directive", "bad2": "it was killed: it took more than " + limit.String()} {
		path := filepath.Join(dir, file)
		put(t, path, "testing\nline 3: unknown directive\n")
		events, _, err := r.Restart(RestartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Restart(RestartOptions{}); !errors.Is(err, ErrBusy) {
			t.Errorf("a second one meanwhile: %v", err)
		}
		r.kinds(events)
		if e := r.await(EventFailed); !strings.Contains(e.Reason, want) || !strings.Contains(e.Reason, "hook before-start (cat ") {
			t.Errorf("%+v", e)
		}
		os.Remove(path)
	}
	if content(filepath.Join(dir, "pid")) != "old" {
		t.Error("the pidfile was touched")
	}
	r.never("launch 2")
	r.restarted(4, RestartOptions{})

	// A stop does not wait for it.
	r2 := start(t, func(c *Config, _ *fakeTracer) {
		c.Hooks = []Hook{{HookBeforeStart, `test "$HUPT_GENERATION" = 1 || sleep 100`}}
	})
	if _, _, err := r2.Restart(RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	r2.stop()
	r2.finish()
	r2.never("launch 2")

	// The first start is refused, too.
	r3 := begin(t, func(c *Config, _ *fakeTracer) { c.Hooks = []Hook{{HookBeforeStart, "echo no; exit 7"}} })
	if code, err := r3.finish(); code != exitInternal || !errors.Is(err, ErrHook) || !strings.Contains(err.Error(), "exited with status 7: no") {
		t.Errorf("%d, %v", code, err)
	}
}

// TestHookFails: the others change nothing; they are told of, and the end
// waits for them.
func TestHookFails(t *testing.T) {
	dir := t.TempDir()
	limit := machine.Patience(2 * time.Second).Round(time.Second)
	r := start(t, func(c *Config, _ *fakeTracer) {
		c.Hooks = []Hook{{HookReady, "echo sorry; exit 2"}, {HookStarted, "sleep 100"}, {HookStopped, "sleep 0.3; touch " + dir + "/end; echo bye"}}
		c.HookTimeout = limit
	})
	r.restarted(2, RestartOptions{})
	if e := r.await(EventWarning); e.Reason != "hook started (sleep 100): it was killed: it took more than "+limit.String() {
		t.Errorf("%+v", e)
	}
	if e := r.await(EventWarning); e.Reason != "hook ready (echo sorry; exit 2): it exited with status 2: sorry" {
		t.Errorf("%+v", e)
	}
	r.fakeTracer.end(2, unix.WaitStatus(0))
	r.finish()
	if e := r.await(EventOutput); e.Reason != "bye" && r.await(EventOutput).Reason != "bye" {
		t.Errorf("what the last hook says is lost: %+v", e)
	}
	if content(dir+"/end") != "" {
		t.Error("the last hook was not waited for")
	}
}
