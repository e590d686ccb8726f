package smoke

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeT notes what a test would have been told.
type fakeT struct {
	ctx  context.Context
	said []string
}

func (f *fakeT) Helper()                      {}
func (f *fakeT) Context() context.Context     { return f.ctx }
func (f *fakeT) Logf(string, ...any)          {}
func (f *fakeT) note(k, t string, a []any)    { f.said = append(f.said, k+": "+fmt.Sprintf(t, a...)) }
func (f *fakeT) Errorf(text string, a ...any) { f.note("error", text, a) }
func (f *fakeT) Fatalf(text string, a ...any) { f.note("fatal", text, a) }
func (f *fakeT) Skipf(text string, a ...any)  { f.note("skip", text, a) }

func TestTest(t *testing.T) {
	hupt := filepath.Join(t.TempDir(), "hupt")
	for script, want := range map[string]string{
		"echo 'hupt: ptrace is forbidden here' >&2; exit 120": "skip: hupt smoke: ptrace is forbidden",
		"exit 7": "error: hupt smoke: the server died: it exited with code 7",
	} {
		if err := os.WriteFile(hupt, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		f := &fakeT{ctx: t.Context()}
		Test(f, Options{Hupt: hupt, Command: []string{"x"}, StopTimeout: time.Millisecond})
		if len(f.said) != 1 || !strings.HasPrefix(f.said[0], want) {
			t.Errorf("%s: %q", script, f.said)
		}
	}
	f := &fakeT{ctx: t.Context()}
	Test(f, Options{Hupt: hupt})
	if len(f.said) != 1 || !strings.HasPrefix(f.said[0], "fatal: ") {
		t.Errorf("%q", f.said)
	}
}

// The library as a user's test has it, on a good server.
func TestTestOnServer(t *testing.T) {
	o := zoo(t, "good", "")
	o.Restarts = 1
	Test(t, o)
}
