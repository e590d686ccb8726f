package tracer

import "golang.org/x/sys/unix"

// onSignal: a signal is about to be delivered. It passes, unless it is the
// restart signal from outside.
func (t *Tracer) onSignal(k *task, sig unix.Signal) {
	// The wake-up for a signal that is then ignored breaks epoll_wait off, too.
	t.mendEINTR(k.tid)
	switch sig {
	case unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, t.restartSig:
		if t.keepSignal(k, sig) {
			sig = 0
		}
	}
	t.resume(k, sig)
}

// keepSignal tells the supervisor of a signal that concerns it, and reports
// whether the program is not to get it.
func (t *Tracer) keepSignal(k *task, sig unix.Signal) bool {
	si, err := signalInfo(k.tid)
	if err != nil {
		return false
	}
	g := k.proc.gen
	if si.Code == siKernel {
		// The terminal's Ctrl-C, Ctrl-\, Ctrl-Z or hangup goes to the whole
		// foreground group, and so to hupt, too.
		t.tell(Note{Kind: NoteTerminalSignal, Generation: g, PID: k.proc.pid, Signal: sig})
		return false
	}
	if sig != t.restartSig || sig == 0 {
		return false
	}
	switch si.Code {
	case siUser, siQueue, siTKill:
	default:
		return false
	}
	// A master that signals its own workers means something of its own by it,
	// and hupt passes on what it was told to.
	if t.procs[int(si.PID)] != nil || int(si.PID) == unix.Getpid() {
		return false
	}
	t.tell(Note{Kind: NoteRestartSignal, Generation: g, PID: k.proc.pid, Signal: sig})
	return true
}
