package integration

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// makeArena makes what is root's, and a place for the attackers beside it.
func (a *attack) makeArena() {
	a.t.Helper()
	a.arena = filepath.Join(a.s.dir, "arena")
	must := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	true_, err := os.ReadFile("/bin/true")
	must(err)
	for name, mode := range map[string]os.FileMode{"": 0o755, "own": 0o777, "root": 0o755, "root/dir": 0o700, "sticky": 0o777 | os.ModeSticky, "open": 0o777} {
		must(os.MkdirAll(filepath.Join(a.arena, name), 0o755))
		must(os.Chmod(filepath.Join(a.arena, name), mode))
	}
	must(os.Chown(filepath.Join(a.arena, "own"), 65534, 65534))
	must(os.Symlink(a.arena+"/root", a.arena+"/own/abs"))
	must(os.Mkdir(a.arena+"/own/d", 0o777))
	for _, name := range []string{"abs", "d"} {
		must(os.Lchown(a.arena+"/own/"+name, 65534, 65534))
	}
	must(os.Chmod(a.arena+"/own/d", 0o777))
	for _, dir := range []string{"root", "sticky", "open"} {
		at := func(name string) string { return filepath.Join(a.arena, dir, name) }
		must(os.WriteFile(at("file"), []byte("root's"), 0o600))
		must(os.WriteFile(at("public"), []byte("root's, too"), 0o644))
		must(writeProgram(at("suid"), true_))
		must(os.Chmod(at("suid"), 0o755|os.ModeSetuid))
		must(os.Symlink("file", at("link")))
		must(unix.Mkfifo(at("fifo"), 0o600))
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(err)
		must(unix.Bind(fd, &unix.SockaddrUnix{Name: at("t")}))
		must(unix.Close(fd))
		for _, name := range []string{"file", "public", "suid", "link", "fifo", "t"} {
			fd, err := unix.Open(at(name), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			must(err)
			f := os.NewFile(uintptr(fd), dir+"/"+name)
			a.open[dir+"/"+name] = f
			a.t.Cleanup(func() { f.Close() })
		}
	}
}

// look tells of everything that is root's: what was there, by its inode, and in what
// is not open to all, by its name.
func (a *attack) look() map[string]string {
	out := map[string]string{}
	moves := map[uint64]bool{} // what anybody may move out of a directory that is open to all
	for name, f := range a.open {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			a.t.Fatal(err)
		}
		moves[st.Ino] = moves[st.Ino] || strings.HasPrefix(name, "open/")
		content := ""
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
			content = fmt.Sprintf("%x %v", sha256.Sum256(b), err)
		}
		out["inode of "+name] = fmt.Sprintf("mode %o, owner %d:%d, content %.16s", st.Mode, st.Uid, st.Gid, content)
	}
	for _, dir := range []string{".", "root", "root/dir", "sticky", "open", "../run"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(a.arena, dir), &st); err != nil {
			out[dir] = err.Error()
			continue
		}
		out[dir] = fmt.Sprintf("mode %o, owner %d:%d, inode %d", st.Mode, st.Uid, st.Gid, st.Ino)
		entries, _ := os.ReadDir(filepath.Join(a.arena, dir))
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			if err := unix.Lstat(filepath.Join(a.arena, name), &st); err != nil || dir == "open" || name == "own" || moves[st.Ino] || st.Uid != 0 && dir == "sticky" {
				continue // others may come and go there
			}
			out[name] = fmt.Sprintf("mode %o, owner %d:%d, inode %d", st.Mode, st.Uid, st.Gid, st.Ino)
		}
	}
	return out
}

// unchanged fails the test if what is root's is not as it was.
func (a *attack) unchanged() {
	a.t.Helper()
	after := a.look()
	for name, was := range a.before {
		if is := after[name]; is != was {
			a.t.Errorf("%s was\n%s\nand is\n%s", name, was, is)
		}
	}
	for name, is := range after {
		if _, ok := a.before[name]; !ok {
			a.t.Errorf("%s was not there, and is %s", name, is)
		}
	}
	// Nothing was made as root where others may write.
	known := map[uint64]bool{}
	for _, f := range a.open {
		var st unix.Stat_t
		unix.Fstat(int(f.Fd()), &st)
		known[st.Ino] = true
	}
	for _, dir := range []string{"own", "open"} {
		filepath.Walk(filepath.Join(a.arena, dir), func(path string, info os.FileInfo, err error) error {
			if err != nil || path == filepath.Join(a.arena, dir) {
				return nil
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid == 0 && !known[st.Ino] {
				a.t.Errorf("%q is root's: %v", path, info.Mode())
			}
			return nil
		})
	}
}
