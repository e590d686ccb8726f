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
	owner    owner
}

func standingOf(fd int) (s standing, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return s, os.NewSyscallError("fstat", err)
	}
	s = standing{settings: readSettings(fd, twinOptions), uid: st.Uid, gid: st.Gid, owner: ownerOf(fd)}
	if s.owner.pid != 0 && !ownedByUs(fd) {
		s.owner = owner{}
	}
	return s, nil
}

// ownedByUs reports whether the owner was set by somebody of hupt's own user. The kernel
// lets a socket signal its owner by the rights of who set that: hupt must not set what
// another user asked for.
func ownedByUs(fd int) bool {
	var by [2]uint32 // real and effective
	_, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), getOwnerUIDs, uintptr(unsafe.Pointer(&by[0])))
	return e == 0 && int(by[0]) == os.Getuid() && int(by[1]) == os.Geteuid()
}

// give gives all of that to another socket, as far as hupt may.
func (s standing) give(fd int) {
	s.settings.apply(fd, twinOptions)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && (st.Uid != s.uid || st.Gid != s.gid) {
		unix.Fchown(fd, int(s.uid), int(s.gid))
	}
	if s.owner.pid != 0 {
		ex := [2]int32{s.owner.kind, s.owner.pid}
		unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&ex[0])))
	}
	if s.owner.signal != 0 {
		unix.FcntlInt(uintptr(fd), unix.F_SETSIG, s.owner.signal)
	}
	if s.owner.async {
		unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_ASYNC)
	}
}
