// Package doctor finds out what this kernel, user and container allow, by
// trying it: a child of the same binary is seized, loads a seccomp filter and
// gives a file descriptor away, as a program under hupt does.
package doctor

import "hupt/control"

// State is how a check went.
type State string

// The states of a check.
const (
	OK   State = "ok"
	Warn State = "warn" // hupt works; something is less than it could be
	Fail State = "fail" // hupt can't work here
)

// Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Found string `json:"found"`        // what there is
	Means string `json:"means"`        // what it means for hupt
	Do    string `json:"do,omitempty"` // what to do about it
}

// Examine makes all checks. The runtime directory is created if it is not
// there; nothing else is left behind.
func Examine(runtimeDir string) []Check {
	p := tryProbe()
	caps := capabilities()
	return []Check{
		kernel(),
		architecture(),
		seccomp(p),
		ptrace(p),
		yama(readInt("/proc/sys/kernel/yama/ptrace_scope"), caps),
		pidfdGetfd(p),
		closeRange(),
		noNewPrivs(p, caps),
		standIns(),
		ioUring(readInt("/proc/sys/kernel/io_uring_disabled")),
		procFS(),
		sockDiag(),
		runtimeDirectory(runtimeDir),
		container(),
	}
}

// Works reports whether hupt can work: nothing failed.
func Works(checks []Check) bool {
	for _, c := range checks {
		if c.State == Fail {
			return false
		}
	}
	return true
}

func runtimeDirectory(dir string) Check {
	c := Check{Name: "runtime dir", State: OK, Found: dir, Means: "hupt restart, status and stop find instances by it"}
	if err := control.CheckDir(dir); err != nil {
		c.State, c.Found = Warn, err.Error()
		c.Means = "hupt restart, status and stop won't find instances; signals still restart and stop them"
		c.Do = "mend it, or choose another with --runtime-dir or " + control.EnvDir
	}
	return c
}
