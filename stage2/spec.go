// Package stage2 is what runs between hupt's fork and the program's first
// instruction: a second life of hupt's own binary, which waits until it is
// seized, makes everything as the program would find it without hupt, loads
// the seccomp filter, and executes the program.
//
// It is a process of its own because the filter must be loaded by the process
// that it is for, after the tracer has hold of it: RET_TRACE without a tracer
// gives ENOSYS.
package stage2

import "hupt/seccomp"

// Arg0 and DoorbellArg0 are the argv[0] by which hupt's binary knows that it
// is not to be hupt. They are also what ps(1) shows.
const (
	Arg0         = "hupt: stage 2"
	DoorbellArg0 = "hupt: doorbell"
)

// Begun is the first byte that stage 2 says: what the tracer still hears of its
// being executed is over then.
const Begun = 1

// Spec is what stage 2 is told over its socket, once it is seized.
type Spec struct {
	Command []string // argv of the program; argv[0] is looked up in PATH unless it has a slash
	// File, if it is not empty, is executed in place of what Command[0] leads to.
	File string
	Env  []string
	Dir  string // by name, so that a switched symlink leads to the new code; empty: hupt's own

	// Launcher is hupt's pid. Variables that name it as the process they are
	// for (sd_listen_fds(3), sd_watchdog_enabled(3)) name the program instead.
	Launcher int

	Signals Signals

	Stdin *Stdin // to be opened anew; nil: the descriptor is inherited

	AllowIOUring bool

	// GuardPaths traces what takes a path away: the generation before has a Unix
	// socket with a path.
	GuardPaths bool

	// Connects traces connect(2): the generation before has a Unix socket.
	Connects seccomp.Connects
}

// Reply is what stage 2 answers. The first tells how far it got before
// execve; a second comes only if execve failed. A successful execve closes
// the socket.
type Reply struct {
	Path       string // that execve gets
	NoNewPrivs bool   // had to be set for the filter
	Step       string // that failed: "chdir", "lookup", "seccomp", "execve"; empty if none did
	Errno      int    // why
	Message    string // why, in words, if there is more to say than the errno
}
