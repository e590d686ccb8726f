package tracer

import "golang.org/x/sys/unix"

// onSignal: a signal is about to be delivered. It passes, unless it is the
// restart signal from outside.
func (t *Tracer) onSignal(k *task, sig unix.Signal) {
	// The wake-up for a signal that is then ignored breaks epoll_wait off, too.
	t.mendEINTR(k.tid)
	if t.keepSignal(k, sig) {
		sig = 0
	}
	t.resume(k, sig)
}

// keepSignal tells the supervisor of a signal that concerns it, and reports
// whether the program is not to get it.
func (t *Tracer) keepSignal(k *task, sig unix.Signal) bool {
	switch sig {
	case unix.SIGURG, unix.SIGCHLD, unix.SIGPROF, unix.SIGALRM, unix.SIGVTALRM, unix.SIGPIPE:
		return false // frequent, and nobody's business
	}
	si, err := signalInfo(k.tid)
	if err != nil {
		return false
	}
	g := k.proc.gen
	note := Note{Kind: NoteOutsideSignal, Generation: g, PID: k.proc.pid, Signal: sig}
	switch si.Code {
	case siKernel:
		// The terminal's Ctrl-C, Ctrl-\, Ctrl-Z or hangup goes to the whole
		// foreground group, and so to hupt, too.
		t.tell(note)
		return false
	case siUser, siQueue, siTKill:
	default:
		return false
	}
	// A master that signals its own workers means something of its own by it,
	// and hupt passes on what it was told to.
	if t.procs[int(si.PID)] != nil || int(si.PID) == unix.Getpid() {
		return false
	}
	if sig == t.restartSig {
		note.Kind = NoteRestartSignal
	}
	t.tell(note)
	return note.Kind == NoteRestartSignal
}
