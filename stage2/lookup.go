package stage2

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lookup finds the program as execvp(3) does: a name with a slash is a path,
// another is searched in the PATH of env. An unusable hit is remembered, so
// that "not executable" is told apart from "not found". A directory that can't
// be searched is no hit: execvp gives EACCES then, but shells say, as people
// expect, that the command is not found.
func lookup(name string, env []string) (string, error) { return Lookup(name, env, "") }

// Lookup is what stage 2 will find if its directory is dir ("": this
// process's). The path is relative where what it was found by is. The error is
// an errno.
func Lookup(name string, env []string, dir string) (path string, err error) {
	if name == "" {
		return "", syscall.ENOENT
	}
	if strings.Contains(name, "/") {
		return name, executable(name, dir)
	}
	found := error(syscall.ENOENT)
	for d := range strings.SplitSeq(pathOf(env), ":") {
		if d == "" {
			d = "." // so is an empty PATH
		}
		// Not cleaned: the kernel follows a symlink before it goes back by a "..".
		p := d + "/" + name
		err := there(p, dir)
		if err != nil {
			if err != syscall.ENOENT && err != syscall.ENOTDIR && err != syscall.EACCES {
				found = err
			}
			continue
		}
		if err := executable(p, dir); err != nil {
			found = err
			continue
		}
		return p, nil
	}
	return name, found
}

// pathOf is the PATH of env, the first of several as with getenv(3), or what
// execvp(3) takes where there is none.
func pathOf(env []string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			return v
		}
	}
	return "/bin:/usr/bin"
}

// in is a path as seen from a directory ("": this process's).
func in(dir, path string) string {
	if dir != "" && !strings.HasPrefix(path, "/") {
		return dir + "/" + path
	}
	return path
}

// there looks whether the path leads to something.
func there(path, dir string) error {
	var st unix.Stat_t
	return unix.Stat(in(dir, path), &st)
}

func executable(path, dir string) error {
	path = in(dir, path)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return syscall.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}
