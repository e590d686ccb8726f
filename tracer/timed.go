package tracer

import (
	"time"

	"golang.org/x/sys/unix"
)

// The kernel makes a call that a stop broke off again, and of many calls the
// time-out begins anew by that: a stream of ignored signals, or of restarts that
// fail, would keep such a call from ever ending. So hupt knows when it is to end,
// and ends it then. When it began is not known: it is taken to have begun at its first
// stop, so that it waits twice its time at most. Calls that the kernel restarts by
// restart_syscall(2), or of which it writes down what is left, need none of this.

// timedWait is a call with a time-out that was made to start again. Until it ends,
// its task stops at its system calls.
type timedWait struct {
	nr       int
	pc, sp   uint64
	args     [6]uint64
	deadline time.Time
	atEnd    int64 // what it gives then
	alarm    *time.Timer
}

// is reports whether a call is that one, made again.
func (w *timedWait) is(nr int, pc, sp uint64, args [6]uint64) bool {
	return w.nr == nr && w.pc == pc && w.sp == sp && w.args == args
}

// timedOut sees to it that a call of k that is about to start again, with registers
// r, ends in time. It reports whether its time is over.
func (t *Tracer) timedOut(k *task, r *registers) (over bool) {
	nr, pc, sp, args := syscallNumber(r), programCounter(r), stackPointer(r), arguments(r)
	if k.wait != nil && !k.wait.is(nr, pc, sp, args) {
		k.endWait()
	}
	if k.wait == nil {
		limit, atEnd, ok := k.timeout(nr, args)
		if !ok {
			return false
		}
		w := &timedWait{nr: nr, pc: pc, sp: sp, args: args, deadline: time.Now().Add(limit), atEnd: atEnd}
		w.alarm = t.after(limit, func() {
			if t.tasks[k.tid] == k && k.wait == w && k.left == nil {
				interrupt(k.tid)
			}
		})
		k.wait = w
	}
	return !time.Now().Before(k.wait.deadline)
}

// endWait forgets a timed call: it has ended, or a handler is to run, after which it
// is another one.
func (k *task) endWait() {
	if k.wait != nil {
		k.wait.alarm.Stop()
		k.wait = nil
	}
}

// overdue reports whether a timed call of k is to end at once.
func (k *task) overdue() bool { return k.wait != nil && !time.Now().Before(k.wait.deadline) }

// timeoutKind is where a call has its time-out.
type timeoutKind int

const (
	timeoutNone     timeoutKind = iota
	timeoutMillis               // an argument: milliseconds, none below 0
	timeoutTimespec             // an argument that points to a struct timespec, none if it is null
	timeoutReceive              // SO_RCVTIMEO of the socket that is the first argument (socket(7))
	timeoutSend                 // SO_SNDTIMEO
	timeoutRing                 // io_uring_enter(2), IORING_ENTER_EXT_ARG
)

// timeout is how long a call waits at most, and what it gives then.
func (k *task) timeout(nr int, args [6]uint64) (limit time.Duration, atEnd int64, ok bool) {
	kind, arg, atEnd := timeoutOf(nr)
	switch kind {
	case timeoutMillis:
		ms := int32(args[arg])
		return time.Duration(ms) * time.Millisecond, atEnd, ms > 0
	case timeoutTimespec:
		limit, ok = k.timespec(args[arg])
		return limit, atEnd, ok
	case timeoutReceive, timeoutSend:
		limit, atEnd = k.socketTimeout(int(int32(args[0])), kind, nr)
		return limit, atEnd, limit > 0
	case timeoutRing:
		limit, ok = k.ringTimeout(args)
		return limit, atEnd, ok
	}
	return 0, 0, false
}

// maxTimeout is beyond what anybody waits for, and what a time.Duration holds.
const maxTimeout = 100 * 365 * 24 * time.Hour

// timespec reads a struct timespec of the task's.
func (k *task) timespec(addr uint64) (time.Duration, bool) {
	b := make([]byte, 16)
	if addr == 0 || readMemory(k.tid, addr, b) != nil {
		return 0, false
	}
	s, ns := int64(order.Uint64(b)), int64(order.Uint64(b[8:]))
	if s < 0 || ns < 0 || s > int64(maxTimeout/time.Second) {
		return 0, false
	}
	return time.Duration(s)*time.Second + time.Duration(ns), true
}

// socketTimeout is the time-out of calls on a socket, 0 for none, and what one
// that is over gives.
func (k *task) socketTimeout(fd int, kind timeoutKind, nr int) (limit time.Duration, atEnd int64) {
	local, err := k.takeFD(fd)
	if err != nil {
		return 0, 0
	}
	defer closeDuplicate(local)
	option := unix.SO_RCVTIMEO
	if kind == timeoutSend {
		option = unix.SO_SNDTIMEO
	}
	v, err := unix.GetsockoptTimeval(local, unix.SOL_SOCKET, option)
	if err != nil {
		return 0, 0
	}
	atEnd = -int64(unix.EAGAIN)
	if family, err := unix.GetsockoptInt(local, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && nr == unix.SYS_CONNECT && family != unix.AF_UNIX {
		atEnd = -int64(unix.EINPROGRESS) // connect(2); it goes on by itself
	}
	return time.Duration(v.Nano()), atEnd
}

// ringTimeout reads struct io_uring_getevents_arg, if the flags, the fourth argument, say
// that the fifth points to one.
func (k *task) ringTimeout(args [6]uint64) (time.Duration, bool) {
	const extArg, absTimer = 1 << 3, 1 << 5 // IORING_ENTER_…
	b := make([]byte, 24)
	if args[3]&extArg == 0 || args[3]&absTimer != 0 || readMemory(k.tid, args[4], b) != nil {
		return 0, false
	}
	return k.timespec(order.Uint64(b[16:]))
}
