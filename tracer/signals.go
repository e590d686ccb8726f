package tracer

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
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
	if k.ofOther() {
		return t.keepFromOther(k, sig, si)
	}
	note := Note{Kind: NoteOutsideSignal, Generation: g, PID: k.proc.pid, Signal: sig}
	switch si.Code {
	case siKernel:
		// The terminal's Ctrl-C, Ctrl-\, Ctrl-Z or hangup goes to the whole
		// foreground group, and so to hupt, too.
		note.Kernel = true
		t.tellSignal(k.proc, note)
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
	t.tellSignal(k.proc, note)
	return note.Kind == NoteRestartSignal
}

// tellSignal tells of a signal from outside, which process p gets.
func (t *Tracer) tellSignal(p *process, note Note) {
	if p.outside == nil {
		p.outside = make(map[unix.Signal]time.Time)
	}
	p.outside[note.Signal] = time.Now()
	t.tell(note)
}

// Had reports whether process pid of g got sig from outside after since, or is
// about to: on a busy machine it may be told of long after it was sent. It is asked
// for a signal that was sent to hupt, perhaps to both at once.
func (t *Tracer) Had(g *Generation, pid int, sig unix.Signal, since time.Time) (had bool) {
	t.Do(func() {
		if p := g.procs[pid]; p != nil {
			had = p.outside[sig].After(since) || t.isComing(p, sig)
		}
	})
	return had
}

// isComing reports whether a signal waits for a process to run, or its stop for the
// tracer. Of those that queue (signal(7)), one that waits says nothing of another.
func (t *Tracer) isComing(p *process, sig unix.Signal) bool {
	if sig >= 32 {
		return false
	}
	for tid := range p.tasks {
		if s, ok := signalSets(tid, "SigPnd", "ShdPnd"); ok && (s[0]|s[1])&(1<<(sig-1)) != 0 {
			return true
		}
	}
	t.sweep()
	return slices.ContainsFunc(t.putOff, func(n news) bool {
		s := decode(n.ws)
		return p.tasks[n.pid] != nil && s.kind == stopSignal && s.signal == sig
	})
}

// ofOther reports whether another user, who is not to tell hupt anything, can signal
// the task: by its real or its saved user id (kill(2)).
func (k *task) ofOther() bool {
	uids := signalUsers(k.tid)
	return slices.ContainsFunc(uids, func(uid uint32) bool { return isOther(k.proc.gen, uid) })
}

// signalUsers are the users who may signal a task, beside root.
func signalUsers(tid int) (uids []uint32) {
	eachStatus(tid, func(name, v string) {
		if f := strings.Fields(v); name == "Uid" && len(f) == 4 {
			uids = append(uids, parseID(f[0]), parseID(f[2]))
		}
	})
	return uids
}

// keepFromOther is keepSignal for a process of another user. Whom a signal is said to
// be from is whatever that user likes: a process may send itself one with any
// siginfo_t (rt_sigqueueinfo(2)), and in a user namespace its own user is root. So
// hupt does nothing for one. One that seems to be a part of root's killall is kept
// from it still: old workers would die of it.
func (t *Tracer) keepFromOther(k *task, sig unix.Signal, si siginfo) bool {
	if sig != t.restartSig || t.ours(int(si.PID)) || int(si.PID) == unix.Getpid() {
		return false
	}
	if si.Code != siUser || si.UID != 0 && int(si.UID) != os.Getuid() {
		return false
	}
	if g := k.proc.gen; !g.hungUp {
		g.hungUp = true // once: it may go on and on
		t.tell(Note{Kind: NoteWarning, Generation: g, PID: k.proc.pid,
			Text: fmt.Sprintf("a %s to process %d does not restart, since another user may have sent it; one to hupt or to the main process does", unix.SignalName(sig), k.proc.pid)})
	}
	return true
}

// recently is how long a process that ended is remembered as one of ours: a
// `(kill -HUP $PPID)` has often ended when its signal is delivered. A signal that is
// masked comes much later; then it was one of ours if nobody has the number since, as
// far as is known.
const (
	recently = time.Second
	longAgo  = 10 * time.Second
)

func (t *Tracer) ours(pid int) bool {
	ended := time.Since(t.ended[pid])
	return t.procs[pid] != nil || ended < recently || ended < longAgo && unix.Kill(pid, 0) == unix.ESRCH
}

// rememberEnded notes that a process of ours ended.
func (t *Tracer) rememberEnded(pid int) {
	const limit = 4096
	now := time.Now()
	if len(t.ended) >= limit {
		maps.DeleteFunc(t.ended, func(_ int, at time.Time) bool { return now.Sub(at) >= longAgo })
	}
	t.ended[pid] = now
}
