package tracer

import (
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// twinOptions are those of a listening socket that its program can read, and that can
// be set.
var twinOptions = append(slices.Clone(sharedOptions), option{unix.SOL_SOCKET, unix.SO_REUSEPORT})

// standing is what a program can see of a socket, but for its name: what it was like
// before another generation got it.
type standing struct {
	settings settings
	uid, gid uint32 // of the file
	async    bool   // O_ASYNC
	owner    struct{ kind, pid int32 }
	signal   int // that the owner gets (F_SETSIG, fcntl(2)); 0: SIGIO
}

func standingOf(fd int) (s standing, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return s, os.NewSyscallError("fstat", err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return s, os.NewSyscallError("fcntl(F_GETFL)", err)
	}
	s = standing{settings: readSettings(fd, twinOptions), uid: st.Uid, gid: st.Gid, async: flags&unix.O_ASYNC != 0}
	unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETOWN_EX, uintptr(unsafe.Pointer(&s.owner)))
	s.signal, _ = unix.FcntlInt(uintptr(fd), unix.F_GETSIG, 0)
	return s, nil
}

// give gives all of that to another socket, as far as hupt may.
func (s standing) give(fd int) {
	s.settings.apply(fd, twinOptions)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && (st.Uid != s.uid || st.Gid != s.gid) {
		unix.Fchown(fd, int(s.uid), int(s.gid))
	}
	if s.owner.pid != 0 {
		unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&s.owner)))
	}
	if s.signal != 0 {
		unix.FcntlInt(uintptr(fd), unix.F_SETSIG, s.signal)
	}
	if s.async {
		unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_ASYNC)
	}
}
