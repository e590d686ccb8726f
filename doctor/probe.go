package doctor

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probeArg0 is argv[0] of a hupt that is the doctor's child.
const probeArg0 = "hupt-doctor-probe"

// childReport is what the child found out about itself.
type childReport struct {
	Filter          string `json:"filter,omitempty"` // why no filter could be loaded
	NeedsNoNewPrivs bool   `json:"needs_no_new_privs"`
}

func init() {
	if ProbeRequested() {
		// The doctor seizes the child's first thread, so what stops must
		// happen there. Init functions run on it.
		runtime.LockOSThread()
	}
}

// ProbeRequested reports whether this process was started to be the doctor's
// child, rather than hupt.
func ProbeRequested() bool { return len(os.Args) > 0 && os.Args[0] == probeArg0 }

// ProbeMain is the whole life of such a process. It says that it is there,
// waits to be seized, loads a filter, makes the call that the filter traps,
// and tells what it found.
func ProbeMain() {
	fmt.Println("ready")
	var word string
	if fmt.Scanln(&word); word != "go" {
		os.Exit(1)
	}
	report := loadFilter()
	if report.Filter == "" {
		unix.RawSyscall(unix.SYS_GETPGID, 0, 0, 0)
	}
	json.NewEncoder(os.Stdout).Encode(report)
	os.Exit(0)
}

// loadFilter loads a filter that traps getpgid, which Go's runtime never
// calls, for this thread; without no_new_privs if it may.
func loadFilter() childReport {
	trace := uint32(unix.SECCOMP_RET_TRACE)
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&trace))); errno != 0 {
		return childReport{Filter: fmt.Sprintf("seccomp(SECCOMP_GET_ACTION_AVAIL, SECCOMP_RET_TRACE): %v", errno)}
	}
	var report childReport
	err := setFilter()
	if err == unix.EACCES { // seccomp(2): neither CAP_SYS_ADMIN nor no_new_privs
		report.NeedsNoNewPrivs = true
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return childReport{Filter: fmt.Sprintf("prctl(PR_SET_NO_NEW_PRIVS): %v", err)}
		}
		err = setFilter()
	}
	if err != 0 {
		report.Filter = fmt.Sprintf("seccomp(SECCOMP_SET_MODE_FILTER): %v", err)
	}
	return report
}

func setFilter() unix.Errno {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_GETPGID},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_TRACE},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	return errno
}
