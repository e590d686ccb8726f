package tracer

import (
	"os"
	"path/filepath"
	"testing"
)

// TestExecutable: of a program by itself, the file that was executed is known, whatever
// its name leads to since; of one that something interprets, nothing is.
func TestExecutable(t *testing.T) {
	l := newLive(t)
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sleep, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	none, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	binary := put("binary", string(sleep))
	for _, c := range []struct {
		name    string
		command []string
		known   bool
	}{
		{"binary", []string{binary, "0.05"}, true},
		{"without arguments", []string{put("short binary", string(none))}, true},
		{"script", []string{put("script", "#!/bin/sh\n"), "0"}, false},
		{"script without arguments", []string{put("short", "#!/bin/sh\n")}, false},
		{"script of /bin/sh", []string{put("shell", "sleep 0.05\n"), "a"}, false},
		{"script of a script", []string{put("second", "#!"+put("first", "#!/bin/sh\n")+" -x\n")}, false},
		// It executes another one at once, which isn't what hupt was asked for.
		{"wrapper", []string{"/usr/bin/env", binary, "0.05"}, true},
	} {
		g, err := l.launch(c.command...)
		if err != nil {
			t.Fatal(err)
		}
		l.awaitEnd(g)
		if known := g.Executable != nil; known != c.known {
			t.Errorf("%s: known %v, not %v", c.name, known, c.known)
		}
		if g.Executable == nil {
			continue
		}
		got, err := g.Executable.Stat()
		g.Executable.Close()
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.Stat(c.command[0])
		if err != nil || !os.SameFile(got, want) {
			t.Errorf("%s: another file: %v", c.name, err)
		}
	}
}
