package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hupt/internal/named"
	"hupt/tracer"
)

func content(path string) string {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "-"
	}
	return strings.TrimSpace(string(b))
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// alone checks that nothing but these is left in a directory.
func alone(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("in the directory are %q, not %q", names, want)
	}
}

// TestPidfiles: one names hupt, the other whoever serves, from before the old
// generation is touched.
func TestPidfiles(t *testing.T) {
	dir := t.TempDir()
	mine, programs := filepath.Join(dir, "hupt.pid"), filepath.Join(dir, "program.pid")
	put(t, mine, "999999999\n")
	var atQuiesce string
	r := start(t, func(c *Config, f *fakeTracer) {
		c.Pidfile, c.ProgramPidfile = mine, programs
		f.quiesce = func() ([]int, error) {
			atQuiesce = content(programs)
			return nil, nil
		}
	})
	if got := content(mine) + " " + content(programs); got != itoa(os.Getpid())+" 1001" {
		t.Errorf("the files say %s", got)
	}
	r.restarted(2, RestartOptions{})
	if got := content(programs); got != "1002" || atQuiesce != "1002" {
		t.Errorf("after the restart the file says %s, at the quiesce %s", got, atQuiesce)
	}

	// One that dies in its probation.
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.serve(3)
	r.asked("quiesce 2")
	r.fakeTracer.end(3, unix.WaitStatus(unix.SIGSEGV))
	r.kinds(events)
	if got := content(programs); got != "1002" {
		t.Errorf("after the rollback the file says %s", got)
	}

	r.fakeTracer.end(2, 0)
	r.finish()
	alone(t, dir)
}

func TestPidfileRefused(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string]string{
		"no such file":    filepath.Join(dir, "nosuch", "pid"),
		"is a directory":  sub,
		"not a directory": "/dev/null/pid",
	} {
		for range 2 {
			r := begin(t, func(c *Config, _ *fakeTracer) { c.Pidfile = path })
			if code, err := r.finish(); code != exitInternal || !errors.Is(err, ErrBadOptions) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ErrBadOptions.Error()) {
				t.Errorf("%s: %d, %v", path, code, err)
			}
			r.never("launch 1")
		}
		alone(t, dir, "sub")
	}
	// That of somebody else is left alone at the end.
	pid := filepath.Join(dir, "pid")
	r := start(t, func(c *Config, _ *fakeTracer) { c.Pidfile = pid })
	put(t, pid, "1")
	r.fakeTracer.end(1, 0)
	r.finish()
	alone(t, dir, "pid", "sub")
}

// TestUnlink: the new version finds no file, and whoever is right has it in
// the end, whatever those that go unlink.
func TestUnlink(t *testing.T) {
	for name, c := range map[string]struct {
		good        bool
		written     string // by the new one
		lastly      func(path string)
		before, end string
	}{
		"good":                               {true, "new", func(string) {}, "old", "new"},
		"good, the old one unlinks":          {true, "new", func(p string) { os.Remove(p) }, "old", "new"},
		"good, it writes none":               {true, "", func(string) {}, "old", "-"},
		"good, there was none":               {true, "new", func(string) {}, "", "new"},
		"good, it writes again later":        {true, "new", func(p string) { os.WriteFile(p+"x", []byte("newer"), 0o644); os.Rename(p+"x", p) }, "old", "newer"},
		"bad":                                {false, "", func(string) {}, "old", "old"},
		"bad, after it wrote":                {false, "new", func(string) {}, "old", "old"},
		"bad, it unlinks":                    {false, "new", func(p string) { os.Remove(p) }, "old", "old"},
		"bad, there was none and it unlinks": {false, "new", func(p string) { os.Remove(p) }, "", "-"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "pid")
			r := start(t, func(c *Config, f *fakeTracer) { c.Unlink, f.stubborn = []string{path}, true })
			if c.before != "" {
				put(t, path, c.before)
			}
			events, _, err := r.Restart(RestartOptions{})
			if err != nil {
				t.Fatal(err)
			}
			r.gen(2)
			if got := content(path); got != "-" {
				t.Errorf("the new version finds %s", got)
			}
			if c.written != "" {
				put(t, path, c.written)
			}
			leaves := 1
			if c.good {
				r.serve(2)
				r.asked("signal 1 SIGTERM")
			} else {
				// It fails, and takes its time to go.
				leaves = 2
				r.tell(tracer.Note{Kind: tracer.NoteExit, Generation: r.gen(2), PID: 1002, Status: 0x0100})
				r.asked("signal all 2 SIGTERM")
				r.call(func() {}) // all that belongs to it was done
				if got := content(path); c.before != "" && got != "old" {
					t.Errorf("after the failure there is %s", got)
				}
			}
			c.lastly(path)
			r.fakeTracer.end(leaves, 0)
			r.kinds(events)
			r.asked("forget " + itoa(leaves))
			r.call(func() {}) // what follows it
			if got := content(path); got != c.end {
				t.Errorf("in the end there is %s, not %s", got, c.end)
			}
			if entries, _ := os.ReadDir(dir); len(entries) > 1 {
				t.Errorf("left over: %v", entries)
			}
		})
	}
}

// TestUnlinkRefused: a file that can't be moved away refuses the restart.
func TestUnlinkRefused(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	r := start(t, func(c *Config, _ *fakeTracer) { c.Unlink = []string{filepath.Join(dir, "a"), sub} })
	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.kinds(events); got != "failed 2" {
		t.Errorf("told %s", got)
	}
	if e := r.await(EventFailed); !strings.Contains(e.Reason, "is a directory") {
		t.Errorf("%+v", e)
	}
	r.never("launch 2")
	alone(t, dir, "sub")
}

// TestReadPid: whatever the program may have put there is read in no time, and
// only a small file is believed.
func TestReadPid(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	good := write("good", " 4711\n")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		good: 4711, write("empty", ""): 0, write("words", "hello"): 0, write("negative", "-1"): 0,
		write("long", "1"+strings.Repeat(" ", 64)): 0,
		fifo: 0, link: 0, "/dev/zero": 0, dir: 0, filepath.Join(dir, "none"): 0,
	} {
		file, err := named.At(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if got := readPid(file); got != want {
			t.Errorf("%s: %d, not %d", path, got, want)
		}
	}
}

// elsewhere puts a link to another directory in the place of dir, as its owner may, and
// as nobody whom hupt trusts would.
func elsewhere(t *testing.T, dir, other string) {
	t.Helper()
	if err := os.Rename(dir, dir+".was"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, dir); err != nil {
		t.Fatal(err)
	}
}

// TestPidfileDirectory: whatever comes in the place of their directories, hupt's
// pidfiles are where they were, and files elsewhere stay as they are.
func TestPidfileDirectory(t *testing.T) {
	top := t.TempDir()
	dir, other := filepath.Join(top, "run"), filepath.Join(top, "root's")
	for _, d := range []string{dir, other} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(other, "program.pid"), itoa(os.Getpid()))
	r := start(t, func(c *Config, _ *fakeTracer) { c.ProgramPidfile = filepath.Join(dir, "program.pid") })
	elsewhere(t, dir, other)
	r.restarted(2, RestartOptions{})
	if got := content(filepath.Join(dir+".was", "program.pid")); got != "1002" {
		t.Errorf("after the restart the file says %s", got)
	}
	r.fakeTracer.end(2, 0)
	r.finish()
	alone(t, dir+".was")
	alone(t, other, "program.pid")
	if got := content(filepath.Join(other, "program.pid")); got != itoa(os.Getpid()) {
		t.Errorf("the file elsewhere says %s", got)
	}
}

// TestUnlinkDirectory: the same, in the middle of a restart, for what was moved away for it.
func TestUnlinkDirectory(t *testing.T) {
	for _, good := range []bool{true, false} {
		t.Run(map[bool]string{true: "good", false: "bad"}[good], func(t *testing.T) {
			top := t.TempDir()
			dir, other := filepath.Join(top, "run"), filepath.Join(top, "root's")
			for _, d := range []string{dir, other} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
				put(t, filepath.Join(d, "pid"), "old")
			}
			path := filepath.Join(dir, "pid")
			saved := "pid.hupt-" + itoa(os.Getpid()) + "-2"
			put(t, filepath.Join(other, saved), "root's")
			r := start(t, func(c *Config, f *fakeTracer) { c.Unlink, f.stubborn = []string{path}, true })
			events, _, err := r.Restart(RestartOptions{})
			if err != nil {
				t.Fatal(err)
			}
			r.gen(2)
			elsewhere(t, dir, other)
			leaves := 1
			if good {
				r.serve(2)
				r.asked("signal 1 SIGTERM")
			} else {
				leaves = 2
				r.tell(tracer.Note{Kind: tracer.NoteExit, Generation: r.gen(2), PID: 1002, Status: 0x0100})
				r.asked("signal all 2 SIGTERM")
			}
			r.fakeTracer.end(leaves, 0)
			r.kinds(events)
			r.asked("forget " + itoa(leaves))
			r.call(func() {})
			if got := content(filepath.Join(other, "pid")) + content(filepath.Join(other, saved)); got != "oldroot's" {
				t.Errorf("the files elsewhere say %s", got)
			}
			alone(t, other, "pid", saved)
			if !good {
				alone(t, dir+".was", "pid")
			}
		})
	}
}
