package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestProbe: a program that looks at everything it can know of itself sees
// the same bare and under hupt: arguments, environment, directory, umask,
// signals, limits, priorities, descriptors with their offsets and flags.
func TestProbe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		argv func(dir string) []string
	}{
		{"static", func(string) []string { return []string{binary(t, "probe")} }},
		{"dynamic", func(string) []string { return []string{binary(t, "probe-dynamic")} }},
		{"python", func(dir string) []string {
			script := filepath.Join(dir, "probe.py")
			text, err := testdata.ReadFile("testdata/py/probe.py")
			if err == nil {
				err = os.WriteFile(script, text, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			return []string{installed(t, "python3"), script}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := tempDir(t)
			argv := append(c.argv(dir), "an argument", "", "-x", "--", "\xff\xfe\n")
			bare := probe(t, dir, argv, true)
			under := probe(t, dir, argv, false)
			if len(bare) < 1000 {
				t.Fatalf("the probe says little:\n%s", bare)
			}
			diff(t, "a program", bare, under)
		})
	}
}

// probe runs the probe once, with the odd state that testdata/c/setup.c makes.
func probe(t *testing.T, dir string, argv []string, bare bool) string {
	t.Helper()
	writeData(t, dir)
	out := filepath.Join(dir, "probe.out")
	os.Remove(out)
	stdout := filled(t, filepath.Join(dir, "stdout"))
	i := launchAt(t, dir, launch{bare: bare, argv: argv, before: []string{binary(t, "setup")},
		env: []string{"PROBE_OUT=" + out, "PROBE_EXIT=7"}, stdout: stdout, stderr: os.DevNull})
	if code := i.exitCode(); code != 7 {
		t.Errorf("bare %v: exit code %d, not 7", bare, code)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return normalised(string(text))
}

// writeData puts the file into dir that testdata/c/setup.c reads.
func writeData(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "data"), bytes.Repeat([]byte("0123456789"), 20), 0o644); err != nil {
		t.Fatal(err)
	}
}

// noNewPrivs is what the kernel asks of an ordinary user for a filter.
var noNewPrivs = regexp.MustCompile(`(?m)^.*NoNewPrivs:.*\n`)

// normalised leaves out what hupt can't keep from a program: for anybody but
// root, no_new_privs is set (seccomp(2)). The documentation says so.
func normalised(text string) string {
	if os.Getuid() != 0 {
		text = noNewPrivs.ReplaceAllString(text, "")
	}
	return text
}

// filled returns a file open for writing behind something already written,
// without O_APPEND: whoever reopens or rewinds it overwrites that.
func filled(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err == nil {
		_, err = f.WriteString("already here\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestProbeSecondGeneration: what a restart starts sees what the first saw.
// Only offsets of shared files have moved on, if somebody moved them.
// In which order a restart goes about it makes no difference, nor does what the
// program made of itself meanwhile; and nothing that waited for the old one, an
// alarm say, comes to the new one.
func TestProbeSecondGeneration(t *testing.T) {
	t.Parallel()
	for _, flag := range append(modeFlags, "--order=start-first") {
		t.Run(strings.Trim(flag, "-"), func(t *testing.T) {
			t.Parallel()
			probeAgain(t, flag)
		})
	}
}

func probeAgain(t *testing.T, flag string) {
	dir := tempDir(t)
	writeData(t, dir)
	out := filepath.Join(dir, "probe.out")
	s := &site{t: t, v: named("c-threads"), dir: dir, host: "127.0.0.1", port: freePort(t)}
	i := launchAt(t, dir, launch{flags: []string{flag}, argv: []string{binary(t, "probe"), "x"}, before: []string{binary(t, "setup")},
		env:    []string{"PROBE_OUT=" + out, "PROBE_MESS=1", fmt.Sprintf("PROBE_SERVE=%d", s.port)},
		stdout: filled(t, filepath.Join(dir, "stdout")), stderr: os.DevNull})
	s.awaitAnswer()
	first, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		os.Remove(out)
		i.restart("--wait-drained")
		again, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			diff(t, "a later generation", string(first), string(again))
		}
	}
}

// TestOutputFile: what generations write to one file comes one behind the
// other: nobody rewinds or truncates it.
func TestOutputFile(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	s := &site{t: t, v: named("c-threads"), dir: dir, host: "127.0.0.1", port: freePort(t)}
	path := filepath.Join(dir, "stdout")
	script := fmt.Sprintf(`echo "generation $(wc -l < %s)"; exec %s port=%d`, path, binary(t, "threads"), s.port)
	i := launchAt(t, dir, launch{argv: []string{"/bin/sh", "-c", script}, stdout: filled(t, path)})
	s.awaitAnswer()
	i.restart("--wait-drained")
	i.restart("--wait-drained")
	text, _ := os.ReadFile(path)
	if want := "already here\ngeneration 1\ngeneration 2\ngeneration 3\n"; string(text) != want {
		t.Errorf("the file holds %q, not %q", text, want)
	}
}

// TestDirectoryByName: a deployment that switches the symlink through which
// the program's directory is reached is followed by the next generation.
func TestDirectoryByName(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	s := &site{t: t, v: named("c-threads"), dir: dir, host: "127.0.0.1", port: freePort(t)}
	for n := range 3 {
		release := filepath.Join(dir, fmt.Sprintf("r%d", n))
		if err := os.Mkdir(release, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeProgram(filepath.Join(release, "server"), bake(t, "threads", fmt.Sprintf("v%d", n))); err != nil {
			t.Fatal(err)
		}
	}
	app := filepath.Join(dir, "app")
	s.link(app, "r0")
	i := launchAt(t, dir, launch{argv: []string{"./server", fmt.Sprintf("port=%d", s.port)}, dir: app, env: []string{"PWD=" + app}})
	s.awaitAnswer()
	for n := 1; n < 3; n++ {
		s.link(app, fmt.Sprintf("r%d", n))
		i.restart()
		version := fmt.Sprintf("v%d", n)
		newLineage(i).isNew(s, version)
		if cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", i.serving().PID)); !strings.HasSuffix(cwd, fmt.Sprintf("/r%d", n)) {
			t.Errorf("generation %d runs in %s", n+1, cwd)
		}
	}
}

// TestPathAfresh: a command without a slash is looked up in $PATH at every
// launch, and found where it is now.
func TestPathAfresh(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	s := &site{t: t, v: named("c-threads"), dir: dir, host: "127.0.0.1", port: freePort(t)}
	for _, sub := range []string{"first", "second"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put := func(sub, version string) {
		if err := writeProgram(filepath.Join(dir, sub, "server"), bake(t, "threads", version)); err != nil {
			t.Fatal(err)
		}
	}
	put("second", "v0")
	path := "PATH=" + filepath.Join(dir, "first") + ":" + filepath.Join(dir, "second") + ":" + os.Getenv("PATH")
	i := launchAt(t, dir, launch{argv: []string{"server", fmt.Sprintf("port=%d", s.port)}, env: []string{path}})
	s.awaitAnswer()
	put("first", "v1")
	i.restart()
	newLineage(i).isNew(s, "v1")
}

// TestExitCodes: hupt ends as the program does, and says how that was.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script string
		code   int
		how    string
	}{
		{"exit 0", 0, "exited with status 0"}, {"exit 3", 3, "exited with status 3"}, {"exit 255", 255, "exited with status 255"},
		{"kill -TERM $$", 143, "was killed by SIGTERM"}, {"kill -KILL $$", 137, "was killed by SIGKILL"},
		{"kill -SEGV $$", 139, "was killed by SIGSEGV"}, {"kill -USR1 $$", 138, "was killed by SIGUSR1"},
		{"sleep 0.2 & exit 5", 5, "exited with status 5"}, // its descendant goes on for a moment
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			i := launchAt(t, tempDir(t), launch{argv: []string{"/bin/sh", "-c", c.script}})
			began := time.Now()
			if code := i.exitCode(); code != c.code {
				t.Errorf("exit code %d, not %d", code, c.code)
			}
			if out := i.tail(); !strings.Contains(out, "\nhupt: the program ended: it "+c.how+" after ") {
				t.Errorf("it says %q", out)
			}
			if took := time.Since(began); took > patience/4 {
				t.Errorf("it took %v", took)
			}
		})
	}
}
