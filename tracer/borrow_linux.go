package tracer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setThreadGroups is setgroups(2) for the calling thread alone.
func setThreadGroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	if _, _, e := unix.Syscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); e != 0 {
		return e
	}
	return nil
}

// mayWriteTo reports whether the calling thread may make and take away names in a
// directory, and whether the kernel can tell (faccessat2(2), Linux 5.8).
func mayWriteTo(dir int) (may, told bool) {
	here := [2]byte{'.', 0}
	_, _, e := unix.Syscall6(unix.SYS_FACCESSAT2, uintptr(dir), uintptr(unsafe.Pointer(&here[0])), unix.W_OK|unix.X_OK, unix.AT_EACCESS, 0, 0)
	return e == 0, e != unix.ENOSYS
}
