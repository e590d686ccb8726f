package tracer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBaseName(t *testing.T) {
	for path, want := range map[string]string{
		"s": "s", "./s": "s", "/run/s": "s", "/s": "s", "a/../s": "s", "s/": "", "/": "", "": "", "..": "", "a/.": "", "a/...": "...",
	} {
		if got := baseName(path); got != want {
			t.Errorf("%q: %q", path, got)
		}
	}
}

// TestLookUp: whatever leads to a file is the same place.
func TestLookUp(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir+"/sub", 0o755))
	must(os.Symlink("sub", dir+"/link"))
	must(os.Symlink(dir+"/sub", dir+"/absolute"))
	must(os.Mkdir(dir+"/other", 0o755))
	t.Chdir(dir)
	fd, err := unix.Open(dir+"/sub", unix.O_PATH|unix.O_DIRECTORY, 0)
	must(err)
	defer unix.Close(fd)
	want, err := lookUp(os.Getpid(), unix.AT_FDCWD, dir+"/sub/s")
	must(err)
	for _, c := range []struct {
		dirfd int
		path  string
		same  bool
	}{
		{unix.AT_FDCWD, "sub/s", true}, {unix.AT_FDCWD, "./sub/../sub//s", true}, {unix.AT_FDCWD, "link/s", true},
		{unix.AT_FDCWD, "absolute/s", true}, {unix.AT_FDCWD, dir + "/absolute/s", true}, {fd, "s", true}, {fd, "../link/s", true},
		{fd, dir + "/sub/s", true}, {unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d/s", fd), true},
		{unix.AT_FDCWD, fmt.Sprintf("/dev/fd/%d/s", fd), true}, {unix.AT_FDCWD, "/proc/self/cwd/sub/s", true},
		{unix.AT_FDCWD, "s", false}, {unix.AT_FDCWD, "other/s", false}, {fd, "t", false},
	} {
		got, err := lookUp(os.Getpid(), c.dirfd, c.path)
		must(err)
		if (got.place == want.place) != c.same {
			t.Errorf("%d %q: %+v, not %+v", c.dirfd, c.path, got.place, want.place)
		}
	}
	for _, path := range []string{"nowhere/s", "s/", "", "..", dir + "/nowhere/s"} {
		if _, err := lookUp(os.Getpid(), unix.AT_FDCWD, path); err == nil {
			t.Errorf("%q leads somewhere", path)
		}
	}
}

// TestSocketFileIsFound after it was renamed in its directory, and not once it
// is gone or another has taken its place.
func TestSocketFileIsFound(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(dir, "s.tmp")}); err != nil {
		t.Fatal(err)
	}
	in, err := lookUp(os.Getpid(), unix.AT_FDCWD, filepath.Join(dir, "s.tmp"))
	if err != nil {
		t.Fatal(err)
	}
	tr := &Tracer{files: make(map[uint64]*socketFile), filesLimit: filesLimit}
	id, ok := boundFile(fd, in, filepath.Join(dir, "s.tmp"), true, fileMode{uid: uint32(os.Geteuid())})
	if !ok {
		t.Fatal("the file is not the socket's")
	}
	tr.noteFile(1, in, id, fileMode{})
	h := &Held{FD: fd, Inode: 1}
	if err := os.Rename(filepath.Join(dir, "s.tmp"), filepath.Join(dir, "s")); err != nil {
		t.Fatal(err)
	}
	f := tr.fileFor(h)
	if f == nil || f.path() != filepath.Join(dir, "s") || !f.there() {
		t.Fatalf("%+v", f)
	}
	f.set(fileMode{mode: 0o640, uid: uint32(os.Getuid()), gid: uint32(os.Getgid())})
	if st, err := os.Stat(filepath.Join(dir, "s")); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", st, err)
	}
	f.by, _ = credentialsOf(unix.Gettid())
	f.unlink()
	if _, err := os.Lstat(filepath.Join(dir, "s")); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	// Another file there, maybe of the same number.
	if err := os.WriteFile(filepath.Join(dir, "s"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := in
	again.name = "s"
	there, err := again.stat()
	if err != nil {
		t.Fatal(err)
	}
	tr.noteFile(2, again, idOf(&there), fileMode{})
	if f.there() || tr.fileFor(&Held{FD: -1, Inode: 1, Name: Name{Path: "s"}}) != nil {
		t.Error("the old socket has the new one's file")
	}
	f.unlink()
	if _, err := os.Lstat(filepath.Join(dir, "s")); err != nil {
		t.Errorf("another's file was removed: %v", err)
	}
}

func TestPathCallOf(t *testing.T) {
	const cwd = unix.AT_FDCWD
	at := ^uint64(-cwd - 1)
	for _, c := range []struct {
		nr   int
		args [6]uint64
		want pathCall
		ok   bool
	}{
		{unix.SYS_UNLINK, [6]uint64{1}, pathCall{from: pathArg{cwd, 1}}, true},
		{unix.SYS_UNLINKAT, [6]uint64{at, 1}, pathCall{from: pathArg{cwd, 1}}, true},
		{unix.SYS_UNLINKAT, [6]uint64{7, 1, unix.AT_REMOVEDIR}, pathCall{from: pathArg{7, 1}, rmdir: true}, true},
		{unix.SYS_RENAME, [6]uint64{1, 2}, pathCall{pathArg{cwd, 1}, pathArg{cwd, 2}, true, false}, true},
		{unix.SYS_RENAMEAT, [6]uint64{7, 1, 8, 2}, pathCall{pathArg{7, 1}, pathArg{8, 2}, true, false}, true},
		{unix.SYS_RENAMEAT2, [6]uint64{7, 1, at, 2}, pathCall{pathArg{7, 1}, pathArg{cwd, 2}, true, false}, true},
		{unix.SYS_RENAMEAT2, [6]uint64{7, 1, 8, 2, unix.RENAME_NOREPLACE}, pathCall{pathArg{7, 1}, pathArg{8, 2}, false, false}, true},
		{unix.SYS_LINK, [6]uint64{1, 2}, pathCall{}, false},
	} {
		if got, ok := pathCallOf(c.nr, c.args); ok != c.ok || ok && got != c.want {
			t.Errorf("%d %v: %+v, %v", c.nr, c.args, got, ok)
		}
	}
	if _, ok := pathCallOf(unix.SYS_RENAMEAT2, [6]uint64{7, 1, 8, 2, unix.RENAME_EXCHANGE}); ok {
		t.Error("an exchange takes a path away")
	}
}
