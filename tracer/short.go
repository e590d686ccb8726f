package tracer

import (
	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// A blocking write to a stream socket or a pipe takes all that it was given,
// however long that lasts, unless a signal breaks it off; and programs rely on
// that. Our stops break it off like a signal, and the kernel then returns what
// was taken so far. So the rest is made up for: in place of returning, the task
// makes calls for what is left, and sees the sum at the end. It runs by
// PTRACE_SYSCALL until then.

// short is a transfer that a stop broke off.
type short struct {
	resume registers // as the broken-off call left them, its result included
	fd     uint64
	call   int    // that transfers a segment
	flags  uint64 // of sendto and recvfrom
	rest   []segment
	done   int64 // bytes, of all calls
	// nonBlock: it ends with the first call that takes less than was asked.
	nonBlock bool

	pc    uint64 // of the call in progress
	tries int    // exits seen that were not that call's
}

// segment is memory that is still to be transferred.
type segment struct{ addr, n uint64 }

// maxTries ends the wait for an exit that never comes: a signal handler ran
// first, and left by longjmp.
const maxTries = 1000

// mendShort looks whether the stop that task k is at broke a blocking transfer
// off, and sets the task up to go on with it. It must not be in the middle of
// such already.
func (t *Tracer) mendShort(k *task) {
	if k.short != nil {
		return
	}
	r, err := getRegisters(k.tid)
	if err != nil || !inSyscall(&r) || result(&r) <= 0 {
		return
	}
	call, ok := transferOf(k.tid, syscallNumber(&r), arguments(&r))
	if !ok || uint64(result(&r)) >= call.total() {
		return
	}
	if f, err := fdtable.Flags(k.tid, int(int32(call.fd))); err != nil || f.NonBlock {
		return // it takes what it can, and says so
	}
	pc := programCounter(&r) - uint64(len(syscallInstruction))
	if !atSyscallInstruction(k.tid, pc) || caughtSignalPends(k.tid) {
		return // for a signal that has a handler, a short count is what it sees bare
	}
	call.resume, call.pc = r, pc
	call.take(result(&r))
	k.short = call
	t.nextPart(k)
}

// strange reports whether a call with registers r is not a part of the transfer
// but a signal handler's, which may be made by the same instruction.
func (s *short) strange(r *registers) bool { return stackPointer(r) != stackPointer(&s.resume) }

func (s *short) total() (n uint64) {
	for _, g := range s.rest {
		n += g.n
	}
	return n
}

// take drops the n bytes that were transferred from the rest.
func (s *short) take(n int64) {
	s.done += n
	for n > 0 && len(s.rest) > 0 {
		m := min(uint64(n), s.rest[0].n)
		s.rest[0].addr += m
		s.rest[0].n -= m
		n -= int64(m)
		if s.rest[0].n == 0 {
			s.rest = s.rest[1:]
		}
	}
}

// nextPart sets the task's registers to the call for the next segment.
func (t *Tracer) nextPart(k *task) {
	s := k.short
	s.tries = 0
	r := s.resume
	args := [6]uint64{s.fd, s.rest[0].addr, s.rest[0].n, s.flags, 0, 0}
	if s.call == unix.SYS_SENDFILE {
		// The kernel has moved the file's offset, or the one that args[2] points to.
		args = arguments(&s.resume)
		args[3] = s.rest[0].n
	}
	setCall(&r, s.pc, s.call, args)
	if setRegisters(k.tid, r) != nil {
		k.short = nil
	}
}

// shortExit is the exit of some call of a task with an open transfer.
func (t *Tracer) shortExit(k *task) {
	s := k.short
	r, err := getRegisters(k.tid)
	if err != nil {
		return
	}
	if s.strange(&r) || programCounter(&r) != s.pc+uint64(len(syscallInstruction)) || syscallNumber(&r) != s.call {
		if s.tries++; s.tries > maxTries {
			k.short = nil
		}
		return // of a signal handler
	}
	n := result(&r)
	switch {
	case n > 0:
		all := uint64(n) >= s.rest[0].n
		s.take(n)
		if len(s.rest) > 0 && (all || !s.nonBlock) && !caughtSignalPends(k.tid) {
			t.nextPart(k)
			return
		}
	case restarts(n) && !caughtSignalPends(k.tid):
		return // broken off by us again: the kernel makes the call again
	}
	// All done; or an error, which the program's next call will meet, too; or a
	// signal that has a handler, for which the program sees a short count.
	k.short = nil
	end := s.resume
	setResult(&end, s.done)
	setRegisters(k.tid, end)
}

// transferOf describes call nr if it is one that blocks until all is
// transferred.
func transferOf(tid, nr int, a [6]uint64) (*short, bool) {
	s, ok := describeTransfer(tid, nr, a)
	return s, ok && s.flags&unix.MSG_DONTWAIT == 0 && len(s.rest) > 0
}

// describeTransfer says what call nr transfers, if it is one that transfers
// all of it unless something stops it.
func describeTransfer(tid, nr int, a [6]uint64) (*short, bool) {
	s := &short{fd: a[0], call: unix.SYS_SENDTO}
	switch nr {
	case unix.SYS_WRITE:
		s.call = unix.SYS_WRITE
		s.rest = []segment{{a[1], a[2]}}
	case unix.SYS_SENDTO:
		s.flags = a[3]
		s.rest = []segment{{a[1], a[2]}}
	case unix.SYS_SENDFILE:
		s.call = unix.SYS_SENDFILE
		s.rest = []segment{{0, a[3]}}
	case unix.SYS_WRITEV:
		s.call = unix.SYS_WRITE
		s.rest = segments(tid, a[1], a[2])
	case unix.SYS_SENDMSG:
		s.flags = a[2]
		b := make([]byte, msghdrLen)
		if readMemory(tid, a[1], b) != nil {
			return nil, false
		}
		s.rest = segments(tid, order.Uint64(b[16:]), order.Uint64(b[24:]))
	case unix.SYS_RECVFROM:
		if a[3]&unix.MSG_WAITALL == 0 {
			return nil, false // less than asked for is what it gives
		}
		s.call, s.flags = unix.SYS_RECVFROM, a[3]
		s.rest = []segment{{a[1], a[2]}}
	default:
		return nil, false
	}
	return s, true
}

// segments reads an array of n struct iovec.
func segments(tid int, addr, n uint64) (out []segment) {
	const size, limit = 16, 1024 // UIO_MAXIOV
	b := make([]byte, size*min(n, limit))
	if len(b) == 0 || readMemory(tid, addr, b) != nil {
		return nil
	}
	for ; len(b) >= size; b = b[size:] {
		if n := order.Uint64(b[8:]); n > 0 {
			out = append(out, segment{order.Uint64(b), n})
		}
	}
	return out
}
