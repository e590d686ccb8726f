// Package named has files that are known by a directory, which is resolved once,
// and a name in it. Whoever may write to a directory above, and puts another one or a link in
// its place later, does not lead hupt elsewhere by that. No last link is followed but by Follow.
package named

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is a name in a directory; whether something is there is another question.
type File struct {
	Path string // as it was given, for messages
	dir  *os.File
	name string
}

// At resolves the directory of path. The error is an *os.PathError.
func At(path string) (*File, error) {
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		err.(*os.PathError).Path = path // which is what was asked for
		return nil, err
	}
	return &File{Path: path, dir: dir, name: filepath.Base(path)}, nil
}

// Beside is the name with a suffix in the same directory.
func (f *File) Beside(suffix string) *File {
	return &File{Path: f.Path + suffix, dir: f.dir, name: f.name + suffix}
}

func (f *File) fd() int { return int(f.dir.Fd()) }

func (f *File) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: f.Path, Err: err}
}

// Open opens it with flags of open(2), and O_NOFOLLOW and O_CLOEXEC.
func (f *File) Open(flags int, mode uint32) (*os.File, error) {
	return f.Follow(flags|unix.O_NOFOLLOW, mode)
}

// Follow is Open, but follows a link.
func (f *File) Follow(flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(f.fd(), f.name, flags|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, f.fail("open", err)
	}
	return os.NewFile(uintptr(fd), f.Path), nil
}

// Stat tells of what is there, a link itself.
func (f *File) Stat() (st unix.Stat_t, err error) {
	err = unix.Fstatat(f.fd(), f.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, f.fail("lstat", err)
}

// DirStat tells of the directory.
func (f *File) DirStat() (st unix.Stat_t, err error) {
	err = unix.Fstat(f.fd(), &st)
	return st, f.fail("fstat", err)
}

// IsDir reports whether a directory is there.
func (f *File) IsDir() bool {
	st, err := f.Stat()
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// Rename gives it the name to, in whose place it is then.
func (f *File) Rename(to *File) error {
	return f.fail("rename", unix.Renameat(f.fd(), f.name, to.fd(), to.name))
}

// Link gives it a second name.
func (f *File) Link(to *File) error {
	return f.fail("link", unix.Linkat(f.fd(), f.name, to.fd(), to.name, 0))
}

// Remove takes the name away.
func (f *File) Remove() error { return f.fail("unlink", unix.Unlinkat(f.fd(), f.name, 0)) }

// Close forgets the directory, also for what is beside it.
func (f *File) Close() { f.dir.Close() }
