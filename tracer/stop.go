package tracer

import "golang.org/x/sys/unix"

// stopKind is what a status of wait4 says of a tracee (ptrace(2), "Stopped
// states").
type stopKind int

const (
	stopExited  stopKind = iota // ended by exit
	stopKilled                  // ended by a signal
	stopSignal                  // signal-delivery-stop
	stopSyscall                 // entry or exit of a system call
	stopEvent                   // EVENT_STOP: the first stop of a new task, or INTERRUPT's
	stopGroup                   // EVENT_STOP of a group-stop
	stopFork                    // a new process or thread; the message is its id
	stopExec                    // execve succeeded; the message is the former id
	stopSeccomp                 // RET_TRACE
	stopOther
)

// stop is a decoded status.
type stop struct {
	kind   stopKind
	signal unix.Signal // of stopSignal, stopKilled and stopGroup
	code   int         // of stopExited
	event  int         // of PTRACE_EVENT_*
}

// decode is pure: it looks at nothing but the status.
func decode(ws unix.WaitStatus) stop {
	switch {
	case ws.Exited():
		return stop{kind: stopExited, code: ws.ExitStatus()}
	case ws.Signaled():
		return stop{kind: stopKilled, signal: ws.Signal()}
	case !ws.Stopped():
		return stop{kind: stopOther}
	}
	sig, event := ws.StopSignal(), int(uint32(ws)>>16)
	switch event {
	case 0:
		if sig == unix.SIGTRAP|0x80 {
			return stop{kind: stopSyscall}
		}
		return stop{kind: stopSignal, signal: sig}
	case unix.PTRACE_EVENT_STOP:
		if sig == unix.SIGTRAP {
			return stop{kind: stopEvent, event: event}
		}
		return stop{kind: stopGroup, signal: sig, event: event}
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
		return stop{kind: stopFork, event: event}
	case unix.PTRACE_EVENT_EXEC:
		return stop{kind: stopExec, event: event}
	case unix.PTRACE_EVENT_SECCOMP:
		return stop{kind: stopSeccomp, event: event}
	}
	return stop{kind: stopOther, event: event}
}

// name is the stop's kind as the status shows it.
func (s stop) name() string {
	switch s.kind {
	case stopSignal:
		return "signal:" + unix.SignalName(s.signal)
	case stopSyscall:
		return "watch"
	case stopEvent:
		return "event-stop"
	case stopGroup:
		return "group-stop"
	case stopExec:
		return "exec"
	case stopSeccomp:
		return "seccomp"
	case stopFork:
		switch s.event {
		case unix.PTRACE_EVENT_FORK:
			return "fork"
		case unix.PTRACE_EVENT_VFORK:
			return "vfork"
		}
		return "clone"
	case stopExited, stopKilled:
		return "exit"
	}
	return "other"
}
