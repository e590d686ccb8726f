package tracer

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// fileID is a file, as stat(2) tells it.
type fileID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{uint64(st.Dev), st.Ino} }

// place is a name in a directory: where a path leads, however it is written.
// It is the same through symbolic links, from any working directory, root
// directory or mount namespace.
type place struct {
	dir  fileID
	name string
}

// lookup is a place, with the directory open.
type lookup struct {
	place
	in *os.File // O_PATH
}

// stat is the file that is there now.
func (l lookup) stat() (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(l.in.Fd()), l.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// is reports whether the file that is there now is that one.
func (l lookup) is(id fileID) bool {
	st, err := l.stat()
	return err == nil && idOf(&st) == id
}

// baseName is the last part of a path; empty if that is no name of a file.
func baseName(path string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	if base == "." || base == ".." {
		return ""
	}
	return base
}

// lookUp finds where task tid's path leads, but for a symbolic link at its end,
// as unlink(2) and bind(2) see it. dirfd is its descriptor of the directory
// from which a relative path goes, or AT_FDCWD. The way is the task's to go: hupt
// goes it with the task's rights.
func lookUp(tid, dirfd int, path string) (l lookup, err error) {
	base := baseName(path)
	if base == "" {
		return l, unix.EINVAL
	}
	dir, err := openDir(tid, dirfd, path[:len(path)-len(base)])
	if err != nil {
		return l, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return l, err
	}
	return lookup{place{idOf(&st), base}, dir}, nil
}

// openDir opens a directory as task tid would: from its working directory,
// under its root directory and in its mount namespace. Absolute symbolic links
// on a relative path, and a ".." that leads above where it begins, would go by
// hupt's root: a program that changed its own and has such is not served.
func openDir(tid, dirfd int, path string) (*os.File, error) {
	proc := fmt.Sprintf("/proc/%d/", tid)
	ours := hasOurRoot(tid)
	if !strings.HasPrefix(path, "/") {
		from := proc + "cwd"
		if dirfd != unix.AT_FDCWD {
			from = fmt.Sprintf("%sfd/%d", proc, dirfd)
		}
		if ours {
			return openFrom(tid, from, path, 0)
		}
		return openFrom(tid, from, path, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
	}
	// What is a task's own in /proc leads to hupt's own if hupt looks. Servers
	// bind by way of it where a path is too long for an address.
	for _, own := range []string{"/proc/self/", "/proc/thread-self/", "/dev/fd/"} {
		if rest, ok := strings.CutPrefix(path, own); ok {
			if own == "/dev/fd/" {
				rest = "fd/" + rest
			}
			if !ours {
				return nil, unix.EXDEV
			}
			link, rest := ownLink(rest)
			return openFrom(tid, proc+link, rest, 0)
		}
	}
	if ours {
		return openFrom(tid, "/", path, 0)
	}
	return openFrom(tid, proc+"root", path, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// ownLink is the part of a path within /proc/self that leads out of there, and the
// rest: fd/N, cwd, root.
func ownLink(path string) (link, rest string) {
	link, rest, _ = strings.Cut(path, "/")
	if link == "fd" {
		var n string
		n, rest, _ = strings.Cut(rest, "/")
		link += "/" + n
	}
	return link, rest
}

// openFrom opens the directory that path leads to from one that task tid has: that
// is opened by hupt, the way on is gone with the task's rights. how: openat2(2)'s,
// Linux 5.6; without it, that fails.
func openFrom(tid int, from, path string, how uint64) (*os.File, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	dir, err := open(unix.AT_FDCWD, from, flags)
	if err != nil || path == "" {
		return dir, err
	}
	c, ok := credentialsOf(tid)
	if !ok {
		return nil, unix.ESRCH
	}
	return asTask(c, func() (*os.File, error) {
		defer dir.Close()
		if how == 0 {
			return open(int(dir.Fd()), path, flags)
		}
		fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{Flags: flags, Resolve: how})
		if err != nil {
			return nil, os.NewSyscallError("openat2", err)
		}
		return os.NewFile(uintptr(fd), path), nil
	})
}

// open is openat(2). os.File closes what is forgotten on the way.
func open(dirfd int, path string, flags int) (*os.File, error) {
	fd, err := unix.Openat(dirfd, path, flags, 0)
	if err != nil {
		return nil, os.NewSyscallError("openat", err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// hasOurRoot reports whether absolute paths mean the same to task tid as to
// hupt.
func hasOurRoot(tid int) bool {
	same := func(what string) bool {
		a, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", tid, what))
		b, err2 := os.Readlink("/proc/self/" + what)
		return err == nil && err2 == nil && a == b
	}
	return same("root") && same("ns/mnt")
}

// readPath reads a NUL-terminated path of at most PATH_MAX bytes.
func readPath(tid int, addr uint64) (string, error) {
	const page = 4096
	var path []byte
	for len(path) < unix.PathMax {
		// Up to the end of the page: what follows may not be mapped.
		b := make([]byte, page-addr%page)
		if err := readMemory(tid, addr, b); err != nil {
			return "", err
		}
		for n, c := range b {
			if c == 0 {
				return string(append(path, b[:n]...)), nil
			}
		}
		path = append(path, b...)
		addr += uint64(len(b))
	}
	return "", unix.ENAMETOOLONG
}
