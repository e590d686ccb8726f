package stage2

import (
	"os"

	"golang.org/x/sys/unix"
)

// Stdin is a standard input that is a regular file, as it was found at launch.
// Each generation is to read it from there. The offset is the file
// description's, which all share who inherited it: so each later generation
// gets one of its own.
type Stdin struct {
	Offset int64
	Flags  int // of open(2)
}

// InheritedStdin tells of this process's; nil: it is no regular file.
func InheritedStdin() *Stdin {
	info, err := os.Stdin.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	offset, err := unix.Seek(0, 0, unix.SEEK_CUR)
	if err != nil {
		return nil
	}
	flags, err := unix.FcntlInt(0, unix.F_GETFL, 0)
	if err != nil {
		return nil
	}
	return &Stdin{Offset: offset, Flags: flags &^ (unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC)}
}

// Open opens the same file anew, at the same offset.
func (s *Stdin) Open() (fd int, err error) {
	fd, err = unix.Open("/proc/self/fd/0", s.Flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, err
	}
	if _, err = unix.Seek(fd, s.Offset, unix.SEEK_SET); err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// replace puts that in the place of descriptor 0. Whoever may not open it by
// itself keeps what it has.
func (s *Stdin) replace() {
	if fd, err := s.Open(); err == nil {
		unix.Dup3(fd, 0, 0)
		unix.Close(fd)
	}
}
