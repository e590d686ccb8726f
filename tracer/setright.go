package tracer

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// setRight gives the new program, before its first instruction, what one finds
// that hupt has started.
func (x *execution) setRight() {
	if err := x.restore(); err != nil && !gone(err) {
		x.t.tell(Note{Kind: NoteWarning, Generation: x.k.proc.gen, PID: x.pid,
			Text: fmt.Sprintf("the new program does not find everything as at a start: %v", err)})
	}
}

func (x *execution) restore() (err error) {
	if err := x.toExit(); err != nil {
		return err
	}
	if x.saved, err = getRegisters(x.k.tid); err != nil {
		return err
	}
	setResult(&x.saved, 0)
	if x.pc, err = syscallInVDSO(x.pid); err == nil {
		if err = x.mapScratch(); err == nil {
			err = x.resetAll()
			x.unmapScratch()
		}
	}
	if x.stuck {
		x.mask, x.injection.mask = x.spec.Signals.Blocked, x.spec.Signals.Blocked
		return x.leave(func() { x.endAtCall(0) })
	}
	if e := setRegisters(x.k.tid, x.saved); err == nil {
		err = e
	}
	x.restoreFilters()
	if e := setSigmask(x.k.tid, x.spec.Signals.Blocked); err == nil {
		err = e
	}
	if x.stopped {
		interrupt(x.k.tid)
	}
	return err
}

// resetAll sets right what survives an execve, but for the mask.
func (x *execution) resetAll() (err error) {
	keep := func(_ int64, e error) {
		if e != nil && err == nil {
			err = e
		}
	}
	zero := x.scratch + atZero
	for timer := range uint64(3) { // ITIMER_REAL, which is alarm(2)'s, VIRTUAL, PROF
		keep(x.call("setitimer", unix.SYS_SETITIMER, timer, zero, 0))
	}
	keep(0, x.resetSignals())
	keep(x.call("umask", unix.SYS_UMASK, umask()))
	keep(x.call("prctl", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0, 0, 0))
	keep(x.call("prctl", unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0))
	keep(x.call("prctl", unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, 0, 0, 0, 0))
	for _, fd := range x.t.inherits {
		keep(0, x.bring(fd, fd))
	}
	if x.spec.Stdin != nil {
		if local, e := x.spec.Stdin.Open(); e == nil {
			keep(0, x.bring(local, 0))
			unix.Close(local)
		}
	}
	// The children that were ended are the new program's, which does not know
	// of them.
	for deadline := time.Now().Add(freezeTimeout); time.Now().Before(deadline); {
		if pid, e := x.call("wait4", unix.SYS_WAIT4, ^uint64(0), 0, unix.WNOHANG|unix.WALL, 0); e != nil || pid == 0 {
			break
		}
	}
	if nice, e := unix.Getpriority(unix.PRIO_PROCESS, 0); e == nil {
		unix.Setpriority(unix.PRIO_PROCESS, x.pid, 20-nice) // the system call gives 20 to 1
	}
	return err
}

// Offsets in the scratch page, beside those of the courier.
const (
	atZero   = 2048
	atAction = 2112
)

// asksToEnd are the signals by which somebody may just have asked the process
// to end: they are the new program's. All others that wait were meant for the
// old one.
const asksToEnd = 1<<(unix.SIGTERM-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGQUIT-1)

// resetSignals drops what waits to be delivered, and ignores what was ignored
// at the launch and nothing else: an ignored signal stays so over an execve, a
// caught one does not.
func (x *execution) resetSignals() error {
	sets, ok := signalSets(x.pid, "SigPnd", "ShdPnd", "SigIgn")
	if !ok {
		return errGone
	}
	waits := (sets[0] | sets[1]) &^ (asksToEnd &^ x.mask)
	ignored := sets[2]
	for n := 1; n <= 64; n++ {
		bit := uint64(1) << (n - 1)
		want := x.spec.Signals.Ignored & bit
		if n == int(unix.SIGKILL) || n == int(unix.SIGSTOP) || waits&bit == 0 && ignored&bit == want {
			continue
		}
		handlers := []uint64{want >> (n - 1)} // SIG_DFL is 0, SIG_IGN 1
		if waits&bit != 0 {
			handlers = []uint64{1, handlers[0]} // to ignore it drops it
		}
		for _, h := range handlers {
			b := make([]byte, 32) // struct kernel_sigaction
			order.PutUint64(b, h)
			addr, err := x.put(atAction, b)
			if err != nil {
				return err
			}
			if _, err := x.call("rt_sigaction", unix.SYS_RT_SIGACTION, uint64(n), addr, 0, 8); err != nil {
				return err
			}
		}
	}
	return nil
}

// bring gives the process hupt's descriptor local as its fd.
func (x *execution) bring(local, fd int) error {
	brought, err := x.courier([]int{local})
	if err != nil {
		return err
	}
	n := brought[0]
	if n == fd {
		_, err = x.call("fcntl", unix.SYS_FCNTL, uint64(fd), unix.F_SETFD, 0)
		return err
	}
	_, err = x.call("dup3", unix.SYS_DUP3, uint64(n), uint64(fd), 0)
	x.closeAll(brought)
	return err
}
