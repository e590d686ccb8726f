package tracer

import (
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// freeze stops every task of p at an EVENT_STOP. It reports whether all
// stopped in time; those that did stay stopped until thaw in either case.
//
// A task that stops otherwise meanwhile (a signal, a fork, a bind) is handled
// as ever and goes on with a new INTERRUPT, which holds it before it gets back
// to the program. Tasks born meanwhile begin with an EVENT_STOP and stay there.
func (t *Tracer) freeze(p *process, timeout time.Duration) bool {
	p.freezes++
	p.frozen = true
	for _, k := range p.tasks {
		if k.held {
			t.sendBack(k)
			continue
		}
		if k.parked {
			t.resume(k, 0) // with an INTERRUPT, since the process is frozen
			continue
		}
		if !k.frozen {
			interrupt(k.tid)
		}
	}
	return t.pump(timeout, func() bool {
		for _, k := range p.tasks {
			// A leader whose threads live on never stops.
			if !k.frozen && !fdtable.Ended(p.pid, k.tid) {
				return false
			}
		}
		return true
	})
}

// thaw ends one freeze.
func (t *Tracer) thaw(p *process) {
	p.freezes = max(0, p.freezes-1)
	if p.freezes > 0 || p.kept {
		return
	}
	p.frozen = false
	for _, k := range p.tasks {
		if k.frozen {
			t.letGo(k)
		}
	}
}

// sharesTable reports whether task tid has the descriptors that /proc/PID/fd
// shows: a thread may have unshared its own (unshare(2), CLONE_FILES). kcmp(2)
// is missing from some kernels; then it has.
func sharesTable(pid, tid int) bool {
	const kcmpFiles = 2
	n, _, e := unix.RawSyscall6(unix.SYS_KCMP, uintptr(fdtable.Reader(pid)), uintptr(tid), kcmpFiles, 0, 0, 0)
	return e != 0 || n == 0
}

// injector picks the frozen task of p to make system calls in: one that is
// inside a system call, if there is one. Elsewhere it may be in a restartable
// sequence (rseq(2)), whose bookkeeping the kernel would clear when it sees
// the task at our instruction instead.
func (t *Tracer) injector(p *process) *task {
	var any *task
	for _, k := range p.tasks {
		if !k.frozen || !sharesTable(p.pid, k.tid) {
			continue
		}
		r, err := getRegisters(k.tid)
		if err != nil {
			continue
		}
		if inSyscall(&r) {
			return k
		}
		any = k
	}
	return any
}
