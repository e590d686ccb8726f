package doctor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probeTimeout is how long the child may take.
const probeTimeout = 5 * time.Second

// probe is what came of tracing a child of ours.
type probe struct {
	start error // the child could not be made: nothing below was tried
	seize error // PTRACE_SEIZE with hupt's options
	trace error // what else of ptrace did not work
	getfd error // pidfd_open and pidfd_getfd

	sawSeccomp bool // the filter's stop came
	child      childReport
}

// tryProbe makes the child, traces it and lets it end.
func tryProbe() (p probe) {
	// ptrace and wait4 belong to the thread that seized, and Pdeathsig to the
	// one that forked: all on one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	toChild, orders, err := os.Pipe()
	if err != nil {
		return probe{start: err}
	}
	defer orders.Close()
	answers, fromChild, err := os.Pipe()
	if err != nil {
		toChild.Close()
		return probe{start: err}
	}
	defer answers.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{probeArg0},
		Stdin: toChild, Stdout: fromChild,
		SysProcAttr: &unix.SysProcAttr{Pdeathsig: unix.SIGKILL},
	}
	err = cmd.Start()
	toChild.Close()
	fromChild.Close()
	if err != nil {
		return probe{start: err}
	}
	pid := cmd.Process.Pid
	defer cmd.Process.Release() // wait4 below reaps it
	answers.SetReadDeadline(time.Now().Add(probeTimeout))
	lines := bufio.NewReader(answers)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		p.start = fmt.Errorf("the child said %q: %w", line, err)
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, unix.WALL, nil)
		return p
	}
	p.getfd = tryGetfd(pid)
	p.seize = seize(pid)
	if p.seize == nil {
		p.trace = os.NewSyscallError("ptrace(PTRACE_INTERRUPT)", unix.PtraceInterrupt(pid))
	}
	orders.WriteString("go\n")
	p.follow(pid)
	if err := json.NewDecoder(lines).Decode(&p.child); err != nil && p.trace == nil {
		p.child.Filter = fmt.Sprintf("the child ended without a word: %v", err)
	}
	return p
}

// seize is PTRACE_SEIZE with the options that hupt uses; the one of x/sys
// passes none.
func seize(pid int) error {
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACEEXEC |
		unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEEXIT
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, options, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("ptrace(PTRACE_SEIZE)", errno)
	}
	return nil
}

// follow lets the child go on at each stop until it has ended.
func (p *probe) follow(pid int) {
	interrupted := false
	for deadline := time.Now().Add(probeTimeout); ; {
		if time.Now().After(deadline) {
			p.trace = errors.Join(p.trace, fmt.Errorf("the child did not end within %v", probeTimeout))
			unix.Kill(pid, unix.SIGKILL)
			deadline = deadline.Add(probeTimeout)
		}
		var status unix.WaitStatus
		got, err := unix.Wait4(pid, &status, unix.WALL|unix.WNOHANG, nil)
		if err == unix.EINTR || err == nil && got == 0 {
			time.Sleep(500 * time.Microsecond)
			continue
		}
		if err != nil || status.Exited() || status.Signaled() {
			break
		}
		signal := 0
		switch status >> 8 {
		case unix.WaitStatus(unix.SIGTRAP | unix.PTRACE_EVENT_SECCOMP<<8):
			p.sawSeccomp = true
			p.note(trySyscallInfo(pid))
		case unix.WaitStatus(unix.SIGTRAP | unix.PTRACE_EVENT_STOP<<8):
			interrupted = true
		default:
			if status>>16 == 0 { // a signal is being delivered
				signal = int(status.StopSignal())
			}
		}
		p.note(os.NewSyscallError("ptrace(PTRACE_CONT)", unix.PtraceCont(pid, signal)))
	}
	if p.seize == nil && !interrupted {
		p.note(errors.New("PTRACE_INTERRUPT did not stop the child"))
	}
}

// note keeps the first error.
func (p *probe) note(err error) {
	if p.trace == nil {
		p.trace = err
	}
}

// trySyscallInfo asks about the call that the child is stopped in (Linux 5.3).
func trySyscallInfo(pid int) error {
	const getSyscallInfo, opSeccomp = 0x420e, 3
	var info [88]byte // struct ptrace_syscall_info; the first byte is op
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(pid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("ptrace(PTRACE_GET_SYSCALL_INFO)", errno)
	}
	if info[0] != opSeccomp {
		return fmt.Errorf("PTRACE_GET_SYSCALL_INFO says op %d at a seccomp stop", info[0])
	}
	return nil
}

// tryGetfd takes the child's standard output.
func tryGetfd(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, 1, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_getfd", err)
	}
	unix.Close(fd)
	return nil
}
