package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAppendTo: a name in a directory to which others may write leads to no other
// file; elsewhere a link is the operator's, and means what it says.
func TestAppendTo(t *testing.T) {
	for _, c := range []struct {
		name string
		mode os.FileMode // of the directory
		is   string
		want string // part of the error; empty: it is opened
	}{
		{"new, own directory", 0o755, "nothing", ""},
		{"new, everybody's directory", 0o777, "nothing", ""},
		{"new, sticky directory", 0o777 | os.ModeSticky, "nothing", ""},
		{"a file, own directory", 0o755, "file", ""},
		{"a file, everybody's directory", 0o777, "file", ""},
		{"a link, own directory", 0o755, "link", ""},
		{"a link, everybody's directory", 0o777, "link", "is a symbolic link"},
		{"a link, the group's directory", 0o775, "link", "is a symbolic link"},
		{"own link, sticky directory", 0o777 | os.ModeSticky, "link", ""},
		{"two names, own directory", 0o755, "hard link", ""},
		{"two names, everybody's directory", 0o777, "hard link", "has other names"},
		{"a FIFO that nobody reads", 0o755, "fifo", "nobody reads"},
		{"a device", 0o755, "device", ""},
		{"a directory", 0o755, "directory", "is a directory"},
		{"no directory", 0o755, "lost", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			other := filepath.Join(dir, "other")
			sub := filepath.Join(dir, "sub")
			path := filepath.Join(sub, "log")
			var err error
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(os.Mkdir(sub, 0o700))
			must(os.WriteFile(other, []byte("other's\n"), 0o644))
			written := path
			switch c.is {
			case "file":
				must(os.WriteFile(path, nil, 0o644))
			case "link":
				must(os.Symlink(other, path))
				written = other
			case "hard link":
				must(os.Link(other, path))
			case "fifo":
				must(unix.Mkfifo(path, 0o600))
			case "device":
				must(os.Symlink("/dev/null", path))
				written = ""
			case "directory":
				must(os.Mkdir(path, 0o700))
			case "lost":
				path = filepath.Join(sub, "nosuch", "log")
			}
			must(os.Chmod(sub, c.mode))
			f, err := appendTo(path)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v", err)
				}
				if b, _ := os.ReadFile(other); string(b) != "other's\n" {
					t.Errorf("the other file says %q", b)
				}
				return
			}
			must(err)
			defer f.Close()
			if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 || flags&unix.O_APPEND == 0 {
				t.Errorf("its flags are %o, %v", flags, err)
			}
			_, err = f.WriteString("ours\n")
			must(err)
			if b, _ := os.ReadFile(written); written != "" && !strings.HasSuffix(string(b), "ours\n") {
				t.Errorf("%s says %q", written, b)
			}
		})
	}
	if os.Getuid() != 0 {
		return // and as root, another user's
	}
	dir := filepath.Join(t.TempDir(), "theirs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "log")
	if err := os.Symlink(filepath.Join(t.TempDir(), "root's"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := appendTo(link); err == nil || !strings.Contains(err.Error(), "is a symbolic link") {
		t.Errorf("a link in another user's directory: %v", err)
	}
}
