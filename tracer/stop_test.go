package tracer

import (
	"testing"

	"golang.org/x/sys/unix"
)

// stopped is the status of a tracee that stopped with sig, and with an event
// above it (ptrace(2)).
func stopped(sig unix.Signal, event int) unix.WaitStatus {
	return unix.WaitStatus(event<<16 | int(sig)<<8 | 0x7f)
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		status unix.WaitStatus
		want   stop
		name   string
	}{
		{0x0000, stop{kind: stopExited}, "exit"},
		{0x0300, stop{kind: stopExited, code: 3}, "exit"},
		{0xff00, stop{kind: stopExited, code: 255}, "exit"},
		{0x0009, stop{kind: stopKilled, signal: unix.SIGKILL}, "exit"},
		{0x008b, stop{kind: stopKilled, signal: unix.SIGSEGV}, "exit"}, // with a core
		{0xffff, stop{kind: stopOther}, "other"},                       // WIFCONTINUED

		// Signals on their way to the program, SIGTRAP of its own included.
		{stopped(unix.SIGHUP, 0), stop{kind: stopSignal, signal: unix.SIGHUP}, "signal:SIGHUP"},
		{stopped(unix.SIGTRAP, 0), stop{kind: stopSignal, signal: unix.SIGTRAP}, "signal:SIGTRAP"},
		{stopped(unix.SIGTSTP, 0), stop{kind: stopSignal, signal: unix.SIGTSTP}, "signal:SIGTSTP"},
		{stopped(unix.SIGSTOP, 0), stop{kind: stopSignal, signal: unix.SIGSTOP}, "signal:SIGSTOP"},
		{stopped(unix.SIGURG, 0), stop{kind: stopSignal, signal: unix.SIGURG}, "signal:SIGURG"},

		{stopped(unix.SIGTRAP|0x80, 0), stop{kind: stopSyscall}, "watch"},

		// EVENT_STOP: of a new task and of INTERRUPT, or of a group-stop, which
		// keeps its signal.
		{stopped(unix.SIGTRAP, unix.PTRACE_EVENT_STOP), stop{kind: stopEvent, event: unix.PTRACE_EVENT_STOP}, "event-stop"},
		{stopped(unix.SIGSTOP, unix.PTRACE_EVENT_STOP), stop{stopGroup, unix.SIGSTOP, 0, unix.PTRACE_EVENT_STOP}, "group-stop"},
		{stopped(unix.SIGTSTP, unix.PTRACE_EVENT_STOP), stop{stopGroup, unix.SIGTSTP, 0, unix.PTRACE_EVENT_STOP}, "group-stop"},
		{stopped(unix.SIGTTIN, unix.PTRACE_EVENT_STOP), stop{stopGroup, unix.SIGTTIN, 0, unix.PTRACE_EVENT_STOP}, "group-stop"},
		{stopped(unix.SIGTTOU, unix.PTRACE_EVENT_STOP), stop{stopGroup, unix.SIGTTOU, 0, unix.PTRACE_EVENT_STOP}, "group-stop"},

		{stopped(unix.SIGTRAP, unix.PTRACE_EVENT_FORK), stop{kind: stopFork, event: unix.PTRACE_EVENT_FORK}, "fork"},
		{stopped(unix.SIGTRAP, unix.PTRACE_EVENT_VFORK), stop{kind: stopFork, event: unix.PTRACE_EVENT_VFORK}, "vfork"},
		{stopped(unix.SIGTRAP, unix.PTRACE_EVENT_CLONE), stop{kind: stopFork, event: unix.PTRACE_EVENT_CLONE}, "clone"},
		{stopped(unix.SIGTRAP, unix.PTRACE_EVENT_EXEC), stop{kind: stopExec, event: unix.PTRACE_EVENT_EXEC}, "exec"},
		{stopped(unix.SIGTRAP, unix.PTRACE_EVENT_SECCOMP), stop{kind: stopSeccomp, event: unix.PTRACE_EVENT_SECCOMP}, "seccomp"},

		// Events that nobody asked for.
		{stopped(unix.SIGTRAP, unix.PTRACE_EVENT_VFORK_DONE), stop{kind: stopOther, event: unix.PTRACE_EVENT_VFORK_DONE}, "other"},
		{stopped(unix.SIGTRAP, unix.PTRACE_EVENT_EXIT), stop{kind: stopOther, event: unix.PTRACE_EVENT_EXIT}, "other"},
	} {
		got := decode(c.status)
		if got != c.want || got.name() != c.name {
			t.Errorf("%#x: %+v (%s), want %+v (%s)", c.status, got, got.name(), c.want, c.name)
		}
	}
}

// TestDecodeAnything: no status panics, and each has a name.
func TestDecodeAnything(t *testing.T) {
	for status := range 1 << 20 {
		if decode(unix.WaitStatus(status)).name() == "" {
			t.Fatalf("%#x has no name", status)
		}
	}
}
