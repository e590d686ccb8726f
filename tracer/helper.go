package tracer

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Helper is a command of the user's that runs beside the program and is not
// traced: a hook, say.
type Helper struct {
	Argv   []string // Argv[0] is a path
	Env    []string
	Dir    string              // empty: hupt's own
	Output *os.File            // its standard output and error
	As     *syscall.Credential // whose it is; nil: hupt's own user's
}

// RunHelper starts a helper in a process group of its own, with nothing to
// read. ended gets its status on a goroutine of the tracer's; kill sends
// SIGKILL to its whole group, as long as its first process has not ended.
//
// It is started here and not by os/exec: the tracer's thread waits for all
// children of the process and would take its end away from there, and while
// that thread forks, a descriptor that is meant for stage 2 survives exec.
func (t *Tracer) RunHelper(h Helper, ended func(unix.WaitStatus)) (kill func(), err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &syscall.ProcAttr{
		Dir: h.Dir, Env: h.Env,
		Files: []uintptr{null.Fd(), h.Output.Fd(), h.Output.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Credential: h.As},
	}
	return t.startChild(h.Argv[0], h.Argv, attr, ended, func(pid int) int { return -pid })
}

// startChild starts a program that is not traced. ended gets its status; kill sends
// SIGKILL to what whom makes of its pid, as long as it has not ended.
func (t *Tracer) startChild(path string, argv []string, attr *syscall.ProcAttr, ended func(unix.WaitStatus), whom func(pid int) int) (kill func(), err error) {
	pid := 0
	t.Do(func() {
		if pid, err = syscall.ForkExec(path, argv, attr); err == nil {
			t.helpers[pid] = ended
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() {
		t.Do(func() {
			if t.helpers[pid] != nil {
				unix.Kill(whom(pid), unix.SIGKILL)
			}
		})
	}, nil
}

// helperEnded reports whether pid was a helper.
func (t *Tracer) helperEnded(pid int, ws unix.WaitStatus) bool {
	ended := t.helpers[pid]
	if ended == nil {
		return false
	}
	delete(t.helpers, pid)
	go ended(ws)
	return true
}

// Admit lets a new generation accept what waits for it, though it does not
// serve yet: who asks it whether it is ready would wait for an answer else.
func (t *Tracer) Admit(g *Generation) { t.Do(func() { t.release(g) }) }
