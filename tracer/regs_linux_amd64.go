package tracer

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// This file is all that knows the architecture. A port writes its twin:
// registers, the system call instruction, and the numbers of the calls that
// only some architectures have.

// auditArch names the architecture in what a filter sees (seccomp(2)).
const auditArch = unix.AUDIT_ARCH_X86_64

// registers are a task's, as user_regs_struct.
type registers = unix.PtraceRegs

func getRegisters(tid int) (registers, error) {
	var r registers
	err := unix.PtraceGetRegs(tid, &r)
	return r, os.NewSyscallError("ptrace(PTRACE_GETREGS)", err)
}

func setRegisters(tid int, r registers) error {
	return os.NewSyscallError("ptrace(PTRACE_SETREGS)", unix.PtraceSetRegs(tid, &r))
}

// syscallInstruction is `syscall`. A task that is in a system call has it just
// before its program counter.
var syscallInstruction = []byte{0x0f, 0x05}

// inSyscall reports whether the task stopped on its way out of a system call.
// Interrupts and exceptions leave a negative orig_rax.
func inSyscall(r *registers) bool { return int64(r.Orig_rax) >= 0 }

func syscallNumber(r *registers) int { return int(int64(r.Orig_rax)) }

func programCounter(r *registers) uint64 { return r.Rip }

func stackPointer(r *registers) uint64 { return r.Rsp }

// setCall makes the task, once it runs, make system call nr with args by the
// syscall instruction at pc. With orig_rax -1 the kernel does not take what
// the task was in before for a call to restart.
func setCall(r *registers, pc uint64, nr int, args [6]uint64) {
	r.Rip, r.Rax, r.Orig_rax = pc, uint64(nr), ^uint64(0)
	r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9 = args[0], args[1], args[2], args[3], args[4], args[5]
}

// skipCall makes a task that stands at the entry of a system call not make it.
func skipCall(r *registers) { r.Orig_rax = ^uint64(0) }

// changeCall turns the call at whose entry a task stands into another one.
func changeCall(r *registers, nr int, args [6]uint64) {
	r.Orig_rax = uint64(nr)
	r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9 = args[0], args[1], args[2], args[3], args[4], args[5]
}

// makeAgain puts a task that stands at the exit of a call that was skipped
// before the instruction that makes it.
func makeAgain(r *registers, nr int) {
	r.Rip -= uint64(len(syscallInstruction))
	r.Rax, r.Orig_rax = uint64(nr), ^uint64(0)
}

// result is what the system call returned, negative for -errno.
func result(r *registers) int64 { return int64(r.Rax) }

// setResult makes the task see v as its call's result, whatever the kernel
// would have made of it.
func setResult(r *registers, v int64) { r.Rax, r.Orig_rax = uint64(v), ^uint64(0) }

// arguments are those of the call that the task is in or came out of.
func arguments(r *registers) [6]uint64 {
	return [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}
}

// setArgument changes one of them.
func setArgument(r *registers, n int, v uint64) {
	*[]*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9}[n] = v
}

// callAgain makes the task make the call again at whose entry it stands.
func callAgain(r *registers) {
	r.Rax, r.Orig_rax = r.Orig_rax, ^uint64(0)
	r.Rip -= uint64(len(syscallInstruction))
}

// sendFlags is which argument of a system call that sends datagrams holds its
// flags.
func sendFlags(nr int) (argument int, ok bool) {
	switch nr {
	case unix.SYS_SENDTO, unix.SYS_SENDMMSG:
		return 3, true
	case unix.SYS_SENDMSG:
		return 2, true
	}
	return 0, false
}

// restarts reports whether the kernel will make a call that gave v again if no
// handler runs: ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, and
// ERESTART_RESTARTBLOCK, which programs never see.
func restarts(v int64) bool { return v == -512 || v == -513 || v == -514 || v == -516 }

// restart makes the kernel make the call again unless a handler runs first
// (ERESTARTNOHAND), in which case the program sees EINTR.
func restart(r *registers) { r.Rax = ^uint64(514 - 1) }

// findSyscall is the place of a system call instruction in code.
func findSyscall(code []byte) int { return bytes.Index(code, syscallInstruction) }

// waitKind is a way of waiting for connections or datagrams.
type waitKind int

const (
	waitNone waitKind = iota
	waitAccept
	waitReceive // of datagrams
	waitPoll
	waitSelect
	waitEpoll
)

// waitCall tells whether system call nr waits for connections, and how.
func waitCall(nr int) waitKind {
	switch nr {
	case unix.SYS_ACCEPT, unix.SYS_ACCEPT4:
		return waitAccept
	case unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG, unix.SYS_READ, unix.SYS_READV:
		return waitReceive
	case unix.SYS_POLL, unix.SYS_PPOLL:
		return waitPoll
	case unix.SYS_SELECT, unix.SYS_PSELECT6:
		return waitSelect
	case unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2:
		return waitEpoll
	}
	return waitNone
}

// pathCallOf reads the arguments of a system call that takes a path away.
func pathCallOf(nr int, a [6]uint64) (c pathCall, ok bool) {
	at := func(dirfd, addr uint64) pathArg { return pathArg{int(int32(dirfd)), addr} }
	const cwd = ^uint64(-unix.AT_FDCWD - 1)
	switch nr {
	case unix.SYS_UNLINK:
		c.from = at(cwd, a[0])
	case unix.SYS_UNLINKAT:
		c.from, c.rmdir = at(a[0], a[1]), a[2]&unix.AT_REMOVEDIR != 0
	case unix.SYS_RENAME:
		c.from, c.to, c.rename = at(cwd, a[0]), at(cwd, a[1]), true
	case unix.SYS_RENAMEAT:
		c.from, c.to, c.rename = at(a[0], a[1]), at(a[2], a[3]), true
	case unix.SYS_RENAMEAT2:
		c.from, c.to = at(a[0], a[1]), at(a[2], a[3])
		// One that must not replace anything fails by itself; one that
		// exchanges two files leaves both.
		c.rename = a[4]&(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) == 0
		return c, a[4]&unix.RENAME_EXCHANGE == 0
	default:
		return c, false
	}
	return c, true
}

// showsEINTR are the calls that give EINTR after a stop although no handler
// ran (signal(7), "Interruption of system calls and library functions by stop
// signals"), and which have done nothing yet when they do, so that they can be
// made again. Calls on sockets are here for SO_RCVTIMEO and SO_SNDTIMEO.
// close is not: a close that gave EINTR has closed.
func showsEINTR(nr int) bool {
	switch nr {
	case unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
		unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP,
		unix.SYS_IO_GETEVENTS, unix.SYS_IO_PGETEVENTS, unix.SYS_IO_URING_ENTER,
		unix.SYS_READ, unix.SYS_READV, unix.SYS_WRITE, unix.SYS_WRITEV,
		unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG,
		unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG,
		unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_CONNECT:
		return true
	}
	return false
}

// epollEvent is struct epoll_event, which is packed on this architecture alone.
func epollEvent(events uint32, data uint64) []byte {
	b := make([]byte, 12)
	order.PutUint32(b, events)
	order.PutUint64(b[4:], data)
	return b
}

// timeoutOf is where a system call among those of showsEINTR has its time-out, and
// what it gives when that is over. It is of calls alone that begin it anew when they are restarted.
func timeoutOf(nr int) (kind timeoutKind, argument int, atEnd int64) {
	switch nr {
	case unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT:
		return timeoutMillis, 3, 0
	case unix.SYS_EPOLL_PWAIT2:
		return timeoutTimespec, 3, 0
	case unix.SYS_IO_GETEVENTS, unix.SYS_IO_PGETEVENTS:
		return timeoutTimespec, 4, 0
	case unix.SYS_RT_SIGTIMEDWAIT:
		return timeoutTimespec, 2, -int64(unix.EAGAIN)
	case unix.SYS_SEMTIMEDOP:
		return timeoutTimespec, 3, -int64(unix.EAGAIN)
	case unix.SYS_IO_URING_ENTER:
		return timeoutRing, 0, -int64(unix.ETIME)
	case unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG,
		unix.SYS_ACCEPT, unix.SYS_ACCEPT4:
		return timeoutReceive, 0, 0
	case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_CONNECT:
		return timeoutSend, 0, 0
	}
	return timeoutNone, 0, 0
}
