package stage2

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lookup finds the program as execvp(3) does: a name with a slash is a path,
// another is searched in the PATH of env. An unusable hit is remembered, so
// that "not executable" is told apart from "not found".
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
	for in := range strings.SplitSeq(pathOf(env), ":") {
		if in == "" {
			in = "." // so is an empty PATH
		}
		// Not cleaned: the kernel follows a symlink before it goes back by a "..".
		p := in + "/" + name
		err := executable(p, dir)
		if err == nil {
			return p, nil
		}
		if err != syscall.ENOENT && err != syscall.ENOTDIR {
			found = err
		}
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

func executable(path, dir string) error {
	if dir != "" && !strings.HasPrefix(path, "/") {
		path = dir + "/" + path
	}
	fi, err := os.Stat(path)
	if err != nil {
		if pe, ok := err.(*os.PathError); ok {
			return pe.Err
		}
		return err
	}
	if fi.IsDir() {
		return syscall.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}
