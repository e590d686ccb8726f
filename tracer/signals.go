package tracer

import (
	"maps"
	"time"

	"golang.org/x/sys/unix"
)

// onSignal: a signal is about to be delivered. It passes, unless it is the
// restart signal from outside.
func (t *Tracer) onSignal(k *task, sig unix.Signal) {
	// The wake-up for a signal that is then ignored breaks epoll_wait off, too.
	t.mendEINTR(k)
	if t.keepSignal(k, sig) {
		sig = 0
	}
	if sig == 0 || !hasHandler(k.tid, sig) {
		t.mendShort(k)
	} else {
		k.endWait() // the call gives EINTR
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
		note.Kernel = true
		t.tell(note)
		return false
	case siUser, siQueue, siTKill:
	default:
		return false
	}
	// A master that signals its own workers means something of its own by it,
	// and hupt passes on what it was told to.
	if t.ours(int(si.PID)) || int(si.PID) == unix.Getpid() {
		return false
	}
	if sig == t.restartSig {
		note.Kind, note.Sender = NoteRestartSignal, int(si.PID)
	}
	t.tell(note)
	return note.Kind == NoteRestartSignal
}

// recently is how long a process that ended is remembered as one of ours: a
// `(kill -HUP $PPID)` has often ended when its signal is delivered.
const recently = time.Second

func (t *Tracer) ours(pid int) bool {
	return t.procs[pid] != nil || time.Since(t.ended[pid]) < recently
}

// rememberEnded notes that a process of ours ended.
func (t *Tracer) rememberEnded(pid int) {
	const limit = 4096
	now := time.Now()
	if len(t.ended) >= limit {
		maps.DeleteFunc(t.ended, func(_ int, at time.Time) bool { return now.Sub(at) >= recently })
	}
	t.ended[pid] = now
}
