package tracer

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStackMoves: what the kernel writes arrives, also when the stack of the
// goroutine that asks is moved on its way to the kernel. Every call is made on a
// new stack, a little deeper than the one before, so that one of them is where
// the stack has to grow.
func TestStackMoves(t *testing.T) {
	l := newLive(t)
	// Not in this process, whose tracer waits for all its children.
	ended := make(chan unix.WaitStatus)
	_, err := l.RunHelper(Helper{Argv: []string{"/proc/self/exe", movesArg}, Env: os.Environ(), Output: os.Stderr},
		func(ws unix.WaitStatus) { ended <- ws })
	if err != nil {
		t.Fatal(err)
	}
	if ws := <-ended; ws.ExitStatus() != 0 {
		t.Errorf("%#x", ws)
	}
}

const movesArg = "move-stacks"

func moveStacks() error {
	child, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "60"}, &syscall.ProcAttr{Env: os.Environ()})
	if err != nil {
		return err
	}
	defer unix.Wait4(child, nil, unix.WALL, nil)
	defer unix.Kill(child, unix.SIGKILL)
	for depth := range 400 {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // which ends with the goroutine
			done <- askAt(depth, child)
		}()
		if err := <-done; err != nil {
			return fmt.Errorf("at depth %d: %w", depth, err)
		}
	}
	return nil
}

func askAt(depth, child int) error {
	if err := seize(child, 0); err != nil {
		return err
	}
	defer ptrace("PTRACE_DETACH", unix.PTRACE_DETACH, child, 0, 0)
	if err := interrupt(child); err != nil {
		return err
	}
	if _, err := unix.Wait4(child, nil, unix.WALL, nil); err != nil {
		return err
	}
	// The architecture is told at every stop.
	if si := deeper(depth, child); si.Arch != auditArch {
		return fmt.Errorf("nothing arrived: %+v", si)
	}
	return nil
}

//go:noinline
func deeper(n, child int) syscallInfo {
	if n == 0 {
		si, _ := getSyscallInfo(child)
		return si
	}
	return deeper(n-1, child)
}
