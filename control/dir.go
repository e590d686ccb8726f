package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// EnvDir names the environment variable that moves the runtime directory.
const EnvDir = "HUPT_RUNTIME_DIR"

// Dir is a directory of control sockets and the user whose it must be.
type Dir struct {
	Path string
	UID  int
}

// world is what the choice of a directory depends on; tests have their own.
type world struct {
	root   string // in front of /run and /tmp
	uid    int
	getenv func(string) string
}

func theWorld() world { return world{uid: os.Getuid(), getenv: os.Getenv} }

// RuntimeDir is where `hupt run` puts its socket: override if it is given,
// else $HUPT_RUNTIME_DIR, else /run/hupt for root and for others the first
// that there is of /run/hupt-UID, which Provide makes, $XDG_RUNTIME_DIR/hupt,
// /run/user/UID/hupt and /tmp/hupt-UID.
func RuntimeDir(override string) string {
	return theWorld().candidates(override)[0].Path
}

// Dirs are the directories in which to look for instances: override or
// $HUPT_RUNTIME_DIR alone if given, else every one that RuntimeDir may choose
// for this user, since `hupt run` may have had another environment; for root
// those of all users. uid is the user whose they are to be, if they are given.
func Dirs(override string, uid int) []Dir {
	dirs := theWorld().dirs(override)
	if override != "" || os.Getenv(EnvDir) != "" {
		dirs[0].UID = uid
	}
	return dirs
}

// candidates are this user's directories, the preferred one first.
func (w world) candidates(override string) []Dir {
	if override == "" {
		override = w.getenv(EnvDir)
	}
	if override != "" {
		if abs, err := filepath.Abs(override); err == nil {
			override = abs
		}
		return []Dir{{override, w.uid}}
	}
	if w.uid == 0 {
		return []Dir{{w.root + "/run/hupt", 0}}
	}
	var dirs []Dir
	if given := w.given(w.uid); w.owns(given) {
		dirs = append(dirs, Dir{given, w.uid})
	}
	for _, parent := range []string{
		w.getenv("XDG_RUNTIME_DIR"),
		fmt.Sprintf("%s/run/user/%d", w.root, w.uid),
	} {
		// su and sudo keep the environment of the user before: a runtime
		// directory that is not ours is not meant for us.
		if filepath.IsAbs(parent) && w.owns(parent) {
			dirs = append(dirs, Dir{filepath.Join(parent, "hupt"), w.uid})
		}
	}
	return append(dirs, Dir{fmt.Sprintf("%s/tmp/hupt-%d", w.root, w.uid), w.uid})
}

// given is a directory that root made for a user: nobody else can be there first,
// as in /tmp, and it stays when the user logs out.
func (w world) given(uid int) string { return fmt.Sprintf("%s/run/hupt-%d", w.root, uid) }

// Provide makes, as root, the directory in which a hupt of another user, which this
// process is about to be, puts its socket, unless override or $HUPT_RUNTIME_DIR name
// one. Where it can't, that hupt does with another.
func Provide(override string, uid, gid uint32) error {
	if override != "" || os.Getenv(EnvDir) != "" || os.Getuid() != 0 || uid == 0 {
		return nil
	}
	return theWorld().provide(uid, gid)
}

func (w world) provide(uid, gid uint32) error {
	path := w.given(int(uid))
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("runtime directory: %w", err)
	}
	// Its parent is root's, so it is still what was made.
	if err := os.Lchown(path, int(uid), int(gid)); err != nil {
		os.Remove(path)
		return fmt.Errorf("runtime directory: %w", err)
	}
	return nil
}

// owns reports whether path is a directory of this user's.
func (w world) owns(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == w.uid
}

func (w world) dirs(override string) []Dir {
	dirs := w.candidates(override)
	if override == "" && w.getenv(EnvDir) == "" && w.uid == 0 {
		dirs = append(dirs, w.others("/run/hupt-", "*", "")...)
		dirs = append(dirs, w.others("/run/user/", "*/hupt", "/hupt")...)
		dirs = append(dirs, w.others("/tmp/hupt-", "*", "")...)
	}
	seen := map[string]bool{}
	kept := dirs[:0]
	for _, d := range dirs {
		if !seen[d.Path] {
			seen[d.Path] = true
			kept = append(kept, d)
		}
	}
	return kept
}

// others finds the directories of all users whose uid stands between prefix
// and suffix. The name says whose a directory must be, so that nobody can pass
// one off as another's.
func (w world) others(prefix, glob, suffix string) []Dir {
	var dirs []Dir
	paths, _ := filepath.Glob(w.root + prefix + glob) // the only error is a bad pattern
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(path, w.root+prefix), suffix)
		uid, err := strconv.ParseUint(name, 10, 32)
		if err == nil && strconv.FormatUint(uid, 10) == name {
			dirs = append(dirs, Dir{path, int(uid)})
		}
	}
	return dirs
}

// make creates the directory if it is not there, and checks it.
func (d Dir) make() error {
	// Mkdir never follows a symlink, and the umask can only take bits away.
	if err := os.Mkdir(d.Path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("runtime directory: %w", err)
	}
	return d.check()
}

// check refuses a directory that somebody else could have put there or could
// enter. It looks with lstat: a symlink may lead anywhere.
func (d Dir) check() error {
	info, err := os.Lstat(d.Path)
	if err != nil {
		return fmt.Errorf("runtime directory: %w", err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return errorf(ErrUnsafeDir, "runtime directory %s is a symbolic link: remove it", d.Path)
	}
	if !info.IsDir() {
		return errorf(ErrUnsafeDir, "runtime directory %s is not a directory: remove it", d.Path)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != d.UID {
		return errorf(ErrUnsafeDir, "runtime directory %s belongs to uid %d, not to uid %d: remove it or choose another with --runtime-dir", d.Path, st.Uid, d.UID)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return errorf(ErrUnsafeDir, "runtime directory %s is open to others (mode %#o): chmod 700 it", d.Path, perm)
	}
	return nil
}

// CheckDir creates a runtime directory if it is not there, and says what is
// wrong with it.
func CheckDir(dir string) error { return Dir{dir, os.Getuid()}.make() }
