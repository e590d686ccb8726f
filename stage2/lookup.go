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
func lookup(name string, env []string) (string, error) {
	if name == "" {
		return "", syscall.ENOENT
	}
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	found := error(syscall.ENOENT)
	for dir := range strings.SplitSeq(pathOf(env), ":") {
		if dir == "" {
			dir = "." // so is an empty PATH
		}
		// Not cleaned: the kernel follows a symlink before it goes back by a "..".
		p := dir + "/" + name
		err := executable(p)
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

func executable(path string) error {
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
