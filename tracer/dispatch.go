package tracer

import (
	"golang.org/x/sys/unix"

	"hupt/internal/fault"
)

// dispatch handles one status of one task, and lets the task go on unless it
// is to stay stopped.
func (t *Tracer) dispatch(tid int, ws unix.WaitStatus) {
	s := decode(ws)
	k := t.tasks[tid]
	if k == nil {
		if s.kind == stopExited || s.kind == stopKilled {
			delete(t.strays, tid)
			t.helperEnded(tid, ws)
			return // else an orphan that was re-parented to us, or a task that exec's de_thread swept away
		}
		if k = t.adoptStray(tid); k == nil {
			t.strays[tid] = ws
			return
		}
	}
	t.stops[s.name()]++
	t.last.note(tid, s)
	fault.Point("stop")
	if k.left != nil && t.pickUp(k, s) {
		return
	}
	switch s.kind {
	case stopExited, stopKilled:
		t.onExit(k, ws)
	case stopSignal:
		t.onSignal(k, s.signal)
	case stopEvent, stopGroup:
		t.onEventStop(k, s)
	case stopFork:
		if child, err := eventMessage(tid); err == nil {
			t.bornOf(k, child)
		}
		t.resume(k, 0)
	case stopExec:
		t.onExec(k)
	case stopSeccomp:
		t.onSeccomp(k)
	case stopSyscall:
		t.onSyscall(k)
	default:
		t.resume(k, 0)
	}
}

// resume lets a stopped task go on. It runs at full speed unless something
// waits to see its system calls.
func (t *Tracer) resume(k *task, sig unix.Signal) {
	k.frozen, k.listening, k.held, k.parked = false, false, false, false
	if k.proc.frozen || k.overdue() {
		// Any trap clears a pending INTERRUPT (ptrace_stop in the kernel's
		// signal.c): this one used it up.
		interrupt(k.tid)
	}
	var err error
	if k.proc.gen.watching || k.proc.stepping || k.awaitsExit != nil || k.short != nil || k.wait != nil {
		err = contToSyscall(k.tid, sig)
	} else {
		err = cont(k.tid, sig)
	}
	_ = err // ESRCH: it is dying, and its exit follows
}

func (t *Tracer) onExit(k *task, ws unix.WaitStatus) {
	p := k.proc
	ended := t.dropTask(k)
	if len(t.strays) > 0 {
		t.settleStrays(p.gen)
	}
	if !ended {
		return
	}
	g := p.gen
	if p.pid == g.Root && !g.begun {
		close(g.first)
	}
	t.rememberEnded(p.pid)
	if len(g.procs) == 0 {
		t.flagsLater()
	}
	// A process that waited takes its sockets along: what it waited on may
	// have nobody left.
	t.tell(Note{Kind: NoteExit, Generation: g, PID: p.pid, Status: ws, Last: len(g.procs) == 0})
}

// onExec: an exec by a thread that is not the leader takes the leader's id,
// and the other tids vanish without a death.
func (t *Tracer) onExec(k *task) {
	p := k.proc
	for tid, other := range p.tasks {
		if other != k {
			other.endWait()
			delete(p.tasks, tid)
			delete(t.tasks, tid)
		}
	}
	k.awaitsExit, k.short = nil, nil
	k.endWait()
	p.goKnown, p.stepping = unknown, false
	if !p.gen.begun && p.gen.told.Load() {
		p.gen.begin(k.tid)
		t.noteOrigin(p.pid)
		t.inherit(p.gen)
	}
	t.tell(Note{Kind: NoteExec, Generation: p.gen, PID: p.pid})
	t.resume(k, 0)
}

// onEventStop: a new task's first stop, an INTERRUPT's, or a group-stop.
func (t *Tracer) onEventStop(k *task, s stop) {
	t.mendEINTR(k)
	t.mendShort(k)
	k.group = 0
	if s.kind == stopGroup {
		k.group = s.signal
	}
	if k.proc.frozen {
		k.frozen = true
		return
	}
	t.letGo(k)
}

// letGo resumes a task from an EVENT_STOP. One in a group-stop must stay in it
// and yet be heard when SIGCONT comes: PTRACE_LISTEN.
func (t *Tracer) letGo(k *task) {
	root := k.proc.pid == k.proc.gen.Root && k.tid == k.proc.pid
	if k.group != 0 {
		k.frozen, k.listening = false, true
		listen(k.tid)
		if root {
			t.tell(Note{Kind: NoteGroupStop, Generation: k.proc.gen, PID: k.tid, Signal: k.group})
		}
		return
	}
	was := k.listening
	t.resume(k, 0)
	if was && root {
		t.tell(Note{Kind: NoteContinued, Generation: k.proc.gen, PID: k.tid})
	}
}

// mendEINTR makes a call that our stop broke off start again, where the kernel
// by itself would show EINTR to a program that saw no signal. If a handler
// does run, the program sees EINTR, as it would have. It reports whether there
// was something to mend.
func (t *Tracer) mendEINTR(k *task) bool {
	r, err := getRegisters(k.tid)
	if err != nil || !inSyscall(&r) {
		return false
	}
	v := result(&r)
	shown := v == -int64(unix.EINTR) && showsEINTR(syscallNumber(&r))
	if !shown && (k.wait == nil || !restarts(v)) {
		k.endWait() // it has ended
		return false
	}
	switch {
	case t.timedOut(k, &r):
		setResult(&r, k.wait.atEnd)
		k.endWait()
		setRegisters(k.tid, r)
		return false
	case !shown:
		return false
	}
	restart(&r)
	return setRegisters(k.tid, r) == nil
}

// onSeccomp: a call that the filter traces is about to be made.
func (t *Tracer) onSeccomp(k *task) {
	si, err := getSyscallInfo(k.tid)
	if err != nil || si.Op != opSeccomp {
		t.resume(k, 0)
		return
	}
	switch int(si.Nr) {
	case unix.SYS_BIND:
		t.stops["seccomp:bind"]++
		t.onBind(k, si)
	case unix.SYS_LISTEN:
		t.stops["seccomp:listen"]++
		t.onListen(k, si)
	case unix.SYS_CONNECT:
		t.stops["seccomp:connect"]++
		t.onConnect(k, si)
	case unix.SYS_KILL:
		t.onKill(k, si)
	case unix.SYS_PIDFD_SEND_SIGNAL:
		t.onPidfdSignal(k, si)
	default:
		if reads(int(si.Nr)) {
			t.stops["seccomp:read"]++
			t.onRead(k, si)
			return
		}
		if _, sends := sendFlags(int(si.Nr)); sends || writes(int(si.Nr)) {
			t.stops["seccomp:write"]++
			if !t.answer(k, si) {
				t.onWrite(k, si)
			}
			return
		}
		t.onPathCall(k, si)
	}
}

// onSyscall: an entry or exit of a task that is watched.
func (t *Tracer) onSyscall(k *task) {
	si, err := getSyscallInfo(k.tid)
	if err != nil {
		t.resume(k, 0)
		return
	}
	switch si.Op {
	case opEntry:
		if w := k.wait; w != nil && !w.is(int(si.Nr), si.IP, si.SP, si.Args) {
			k.endWait()
		}
		switch {
		case k.proc.stepping && writes(int(si.Nr)):
			t.onWrite(k, si)
			return
		case k.proc.stepping && reads(int(si.Nr)):
			t.onRead(k, si)
			return
		}
		if t.watchEntry(k, si) {
			return // it stays where it is
		}
	case opExit:
		// This trap used up the INTERRUPT that broke the call off: ask for
		// another one, at which the kernel starts the call again.
		if t.mendEINTR(k) {
			interrupt(k.tid)
		}
		switch {
		case k.short != nil:
			t.shortExit(k)
		case k.awaitsExit == nil:
			t.mendShort(k)
		}
		if f := k.awaitsExit; f != nil {
			k.awaitsExit = nil
			f(int64(si.Nr))
		}
	}
	t.resume(k, 0)
}
