package tracer

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// slice is asked for where real time is refused: who has the shorter one is not
// preempted by whom it wakes (EEVDF, since Linux 6.12; ignored before).
const slice = 100_000 // ns

// unpreempted keeps whom the calling thread wakes from running in its place
// until end is called. A program that is told that its client has gone closes
// the connection within microseconds; were it to run at once where hupt's
// duplicate is still open, its close would be none until hupt runs again, 1.4 ms
// later, and a client that asks meanwhile would be cut. (Measured on two
// processors: 0.24 to 0.62 ms on the average without, 14 µs with SCHED_FIFO, 20
// with the slice.)
func unpreempted() (end func()) {
	runtime.LockOSThread()
	was, err := unix.SchedGetAttr(0, 0)
	if err != nil || was.Policy != unix.SCHED_NORMAL && was.Policy != unix.SCHED_BATCH {
		return runtime.UnlockOSThread // idle by somebody's wish, or real time already
	}
	// Not SCHED_FLAG_RESET_ON_FORK: who has real time by RLIMIT_RTPRIO alone could
	// not take it back. Go makes no threads from one that is locked.
	first := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Flags: was.Flags, Priority: 1}
	short := *was
	short.Runtime = slice
	if unix.SchedSetAttr(0, &first, 0) != nil && unix.SchedSetAttr(0, &short, 0) != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		was.Runtime = 0 // the kernel's own choice again, not what that happened to be
		unix.SchedSetAttr(0, was, 0)
		runtime.UnlockOSThread()
	}
}
