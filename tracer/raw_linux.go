package tracer

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file holds every raw ptrace(2) request that x/sys has no call for. All
// must be made by the tracer's thread, on a stopped tracee but for SEIZE and
// INTERRUPT; each gives ESRCH for a tracee that is dying or gone, which is
// never an error to report: its exit follows.

const options = unix.PTRACE_O_TRACESYSGOOD |
	unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
	unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESECCOMP

// No PTRACE_O_EXITKILL, unless it is asked for: if hupt dies, the program lives.

func ptrace(what string, request int, tid int, addr, data uintptr) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0); e != 0 {
		return os.NewSyscallError("ptrace("+what+")", e)
	}
	return nil
}

// ptraceAt is ptrace for requests whose data is an address of ours. The pointer
// becomes a number in the call itself and not before: the number would not
// follow a stack that is moved on the way to the call, and the kernel would
// write where the variable was.
func ptraceAt(what string, request int, tid int, addr uintptr, data unsafe.Pointer) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, uintptr(data), 0, 0); e != 0 {
		return os.NewSyscallError("ptrace("+what+")", e)
	}
	return nil
}

// gone reports whether err says that a task, its memory or its descriptors are
// not there any more.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, errGone)
}

// errGone is what an operation answers when its task ended under it. The exit
// has then been dispatched.
var errGone = errors.New("the task ended")

func seize(tid int, options uintptr) error {
	return ptrace("PTRACE_SEIZE", unix.PTRACE_SEIZE, tid, 0, options)
}

func seizeBell(tid int) error {
	return ptrace("PTRACE_SEIZE", unix.PTRACE_SEIZE, tid, 0, 0)
}

func interrupt(tid int) error {
	return ptrace("PTRACE_INTERRUPT", unix.PTRACE_INTERRUPT, tid, 0, 0)
}

func listen(tid int) error {
	return ptrace("PTRACE_LISTEN", unix.PTRACE_LISTEN, tid, 0, 0)
}

func cont(tid int, sig unix.Signal) error {
	return ptrace("PTRACE_CONT", unix.PTRACE_CONT, tid, 0, uintptr(sig))
}

func contToSyscall(tid int, sig unix.Signal) error {
	return ptrace("PTRACE_SYSCALL", unix.PTRACE_SYSCALL, tid, 0, uintptr(sig))
}

func eventMessage(tid int) (int, error) {
	var msg uint64
	err := ptraceAt("PTRACE_GETEVENTMSG", unix.PTRACE_GETEVENTMSG, tid, 0, unsafe.Pointer(&msg))
	return int(msg), err
}

// sigmask is the signals that tid blocks. In a call that swaps the mask for
// its time (ppoll, sigsuspend), it is the mask to come back to.
func sigmask(tid int) (uint64, error) {
	var m uint64
	err := ptraceAt("PTRACE_GETSIGMASK", unix.PTRACE_GETSIGMASK, tid, 8, unsafe.Pointer(&m))
	return m, err
}

func setSigmask(tid int, m uint64) error {
	return ptraceAt("PTRACE_SETSIGMASK", unix.PTRACE_SETSIGMASK, tid, 8, unsafe.Pointer(&m))
}

// siginfo is the head of siginfo_t, as sigaction(2) gives it.
type siginfo struct {
	Signo, Errno, Code int32
	_                  int32
	PID, UID           int32 // for signals that a process sent
	_                  [104]byte
}

// si_code values, sigaction(2).
const (
	siUser   = 0
	siQueue  = -1
	siTKill  = -6
	siKernel = 0x80
)

func signalInfo(tid int) (siginfo, error) {
	var si siginfo
	err := ptraceAt("PTRACE_GETSIGINFO", unix.PTRACE_GETSIGINFO, tid, 0, unsafe.Pointer(&si))
	return si, err
}

// syscallInfo is struct ptrace_syscall_info, ptrace(2), Linux 5.3. It alone
// tells entry from exit: a flag of one's own drifts.
type syscallInfo struct {
	Op   uint8
	_    [3]byte
	Arch uint32
	IP   uint64
	SP   uint64
	// Nr and Args at an entry and at a seccomp stop. At an exit, Nr is the
	// result.
	Nr   uint64
	Args [6]uint64
	Data uint32
	_    uint32
}

const (
	opEntry   = 1
	opExit    = 2
	opSeccomp = 3
)

func getSyscallInfo(tid int) (syscallInfo, error) {
	var si syscallInfo
	const request = 0x420e // PTRACE_GET_SYSCALL_INFO
	err := ptraceAt("PTRACE_GET_SYSCALL_INFO", request, tid, unsafe.Sizeof(si), unsafe.Pointer(&si))
	return si, err
}

// readMemory fills b from addr in the memory of process pid.
func readMemory(pid int, addr uint64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return os.NewSyscallError("process_vm_readv", err)
}

// writeMemory writes b to addr in the memory of process pid.
func writeMemory(pid int, addr uint64, b []byte) error {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMWritev(pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return os.NewSyscallError("process_vm_writev", err)
}

// awaitGracePeriod returns when everything that the kernel was in the middle of,
// packets that it delivers among it, has gone on (membarrier(2): a grace period
// of RCU; Linux 4.3). Where that is not to be had, it is a moment.
func awaitGracePeriod() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL
	if _, _, e := unix.RawSyscall(unix.SYS_MEMBARRIER, global, 0, 0); e != 0 {
		time.Sleep(5 * time.Millisecond)
	}
}
