package privilege

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// needed are the capabilities that root's hupt uses itself; docs/privileges.md says
// what for.
var needed = setOf(
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_KILL,
	unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW,
	unix.CAP_SYS_PTRACE, unix.CAP_SYS_ADMIN, unix.CAP_SYS_NICE, unix.CAP_SYS_RESOURCE,
)

// ErrCGo is what Drop answers in a program that was built with cgo, where capabilities
// can't be taken from all threads at once.
var ErrCGo = errors.New("hupt was built with cgo")

// Drop takes from all threads of the process the use of what hupt does not need. It must be
// called before others may do the same.
//
// From the effective set alone: an execve makes that anew of the permitted one, so a
// program that is executed next has all that it would have. What was given up for good,
// root would gain by an execve, and that shows: the kernel resets personality(2), the
// death signal, and whether a process can be looked into.
//
// Whoever lacks CAP_SYS_PTRACE keeps all: it may look into a program only whose
// capabilities are a part of its own (ptrace(2)).
func Drop() error {
	sets, err := ownSets()
	if err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	left := sets.dropped()
	if left == sets {
		return nil
	}
	header, data := version3, left.data()
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	switch e {
	case 0:
		return nil
	case unix.ENOTSUP:
		return ErrCGo
	}
	return os.NewSyscallError("capset", e)
}

func (s threadSets) dropped() threadSets {
	if s.effective&setOf(unix.CAP_SYS_PTRACE) != 0 {
		s.effective &= needed
	}
	return s
}
