package doctor

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The oldest kernel with all that hupt needs: pidfd_open and
// PTRACE_GET_SYSCALL_INFO came with 5.3, pidfd_getfd with 5.6,
// CLOSE_RANGE_CLOEXEC with 5.11.
const needMajor, needMinor = 5, 11

func kernel() Check {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Check{Name: "kernel", State: Fail, Found: err.Error(), Means: "uname(2) does not work"}
	}
	return kernelRelease(unix.ByteSliceToString(name.Release[:]))
}

func kernelRelease(release string) Check {
	c := Check{Name: "kernel", State: OK, Found: release, Means: "new enough"}
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		c.State, c.Means = Warn, "its version can't be read; the checks below tell"
		return c
	}
	if major < needMajor || major == needMajor && minor < needMinor {
		c.State = Fail
		c.Means = fmt.Sprintf("older than %d.%d: PTRACE_GET_SYSCALL_INFO (5.3), pidfd_getfd (5.6) or CLOSE_RANGE_CLOEXEC (5.11) is missing", needMajor, needMinor)
		c.Do = fmt.Sprintf("use Linux %d.%d or newer", needMajor, needMinor)
	}
	return c
}

func architecture() Check {
	c := Check{
		Name: "architecture", State: OK, Found: runtime.GOARCH,
		Means: "64-bit programs are handled; the sockets of 32-bit (int 0x80) and x32 ones are not handed over",
	}
	if runtime.GOARCH != "amd64" {
		c.State, c.Means, c.Do = Fail, "hupt knows the registers of amd64 only", "use an x86-64 machine"
	}
	return c
}

func closeRange() Check {
	c := Check{Name: "close_range", State: OK, Found: "CLOSE_RANGE_CLOEXEC works", Means: "a program can be executed anew in its own process"}
	// The last fd number there can be: none is open there.
	if err := unix.CloseRange(1<<31-1, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		c.State, c.Found = Warn, "close_range: "+err.Error()
		c.Means = "a program can't be executed anew in its own process; new ones beside the old work"
		c.Do = "use Linux 5.11 or newer, and let the container's seccomp profile pass close_range"
	}
	return c
}

// ioUring judges kernel.io_uring_disabled (Linux 6.6); disabled is -1 if
// there is no such file.
func ioUring(disabled int) Check {
	c := Check{Name: "io_uring", State: OK}
	switch disabled {
	case 2:
		c.Found, c.Means = "disabled", "no program can use it, so no socket escapes hupt by it"
	case 1:
		c.Found, c.Means = "disabled but for a group", "hupt hides it: io_uring_setup gives ENOSYS and programs use epoll instead"
	default:
		c.Found, c.Means = "enabled", "hupt hides it: io_uring_setup gives ENOSYS and programs use epoll instead"
	}
	if disabled != 2 {
		c.Do = "hupt run --allow-io-uring lets a program have it that can't do without; sockets that it binds by io_uring are not handed over"
	}
	return c
}

// readInt reads a file with one number in it; -1 if it can't.
func readInt(path string) int {
	data, err := os.ReadFile(path)
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return -1
	}
	return n
}
