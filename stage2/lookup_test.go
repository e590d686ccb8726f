package stage2

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes files with these modes, or directories where the mode is 0, and
// changes to it.
func tree(t *testing.T, files map[string]os.FileMode) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, mode := range files {
		var err error
		if mode == 0 {
			err = os.MkdirAll(name, 0o755)
		} else {
			if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
				err = os.WriteFile(name, []byte("#!/bin/sh\n"), mode)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestLookup(t *testing.T) {
	tree(t, map[string]os.FileMode{
		"a/prog": 0o755, "b/prog": 0o755, "b/plain": 0o644, "c/plain": 0o755,
		"a/sub": 0, "here": 0o755, "a/text": 0o644, "deep/er/prog": 0o755,
	})
	if err := os.Symlink("deep/er", "link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", "a/dangling"); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string // path "-": PATH is not set
		want       string
		err        error
	}{
		// As execvp(3): the first that can be executed.
		{"prog", "a:b", "a/prog", nil},
		{"prog", "b:a", "b/prog", nil},
		{"prog", "nosuch:a", "a/prog", nil},
		{"prog", "here:a", "a/prog", nil}, // ENOTDIR
		{"prog", wd + "/a", wd + "/a/prog", nil},
		{"prog", "link", "link/prog", nil},
		{"prog", "link/../er", "link/../er/prog", nil}, // the kernel follows the link first
		{"prog", "a//", "a///prog", nil},
		{"sh", "-", "/bin/sh", nil},
		{"plain", "b:c", "c/plain", nil}, // one that can't be is passed over

		// An empty element is the current directory.
		{"here", "", "./here", nil},
		{"here", ":a", "./here", nil},
		{"here", "a:", "./here", nil},
		{"here", "a::b", "./here", nil},
		{"here", ".", "./here", nil},
		{"here", "a:b", "here", syscall.ENOENT},

		// EACCES is remembered, ENOENT and ENOTDIR are not.
		{"plain", "b:nosuch", "plain", syscall.EACCES},
		{"text", "a:b", "text", syscall.EACCES},
		{"sub", "a:b", "sub", syscall.EACCES},
		{"nosuch", "a:b", "nosuch", syscall.ENOENT},
		{"dangling", "a", "dangling", syscall.ENOENT},
		{"", "a:b", "", syscall.ENOENT},

		// With a slash it is a path, whatever PATH is.
		{"./here", "a", "./here", nil},
		{"a/prog", "b", "a/prog", nil},
		{"a/../here", "b", "a/../here", nil},
		{"a/text", "a", "a/text", syscall.EACCES},
		{"a/sub", "a", "a/sub", syscall.EACCES},
		{"./prog", "a", "./prog", syscall.ENOENT},
		{"here/prog", "a", "here/prog", syscall.ENOTDIR},
	} {
		env := []string{"A=b", "PATH=" + c.path, "PATHS=a"}
		if c.path == "-" {
			env = []string{"A=b"}
		}
		if got, err := lookup(c.name, env); got != c.want || err != c.err {
			t.Errorf("%q in %q: got %q, %v; want %q, %v", c.name, c.path, got, err, c.want, c.err)
		}
	}
}

// TestLookupFirstPATH: of two, getenv(3) and so execvp(3) take the first.
func TestLookupFirstPATH(t *testing.T) {
	tree(t, map[string]os.FileMode{"a/prog": 0o755, "b/prog": 0o755})
	if got, err := lookup("prog", []string{"PATH=b", "PATH=a"}); got != "b/prog" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestLookupUnsearchable: a directory of PATH that this user may not search, as
// root's is for others, does not make of a command that isn't there one that
// isn't executable.
func TestLookupUnsearchable(t *testing.T) {
	tree(t, map[string]os.FileMode{"shut/prog": 0o755, "a/prog": 0o755, "a/text": 0o644})
	if err := os.Chmod("shut", 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod("shut", 0o755)
	if os.Geteuid() == 0 {
		// capabilities(7): those of files go with it, on this thread alone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	for _, c := range []struct {
		name, path, want string
		err              error
	}{
		{"nosuch", "shut", "nosuch", syscall.ENOENT},
		{"nosuch", "a:shut", "nosuch", syscall.ENOENT},
		{"prog", "shut", "prog", syscall.ENOENT},
		{"prog", "shut:a", "a/prog", nil},
		{"text", "a:shut", "text", syscall.EACCES},
		{"shut/prog", "a", "shut/prog", syscall.EACCES},
	} {
		if got, err := lookup(c.name, []string{"PATH=" + c.path}); got != c.want || err != c.err {
			t.Errorf("%q in %q: got %q, %v; want %q, %v", c.name, c.path, got, err, c.want, c.err)
		}
	}
}
