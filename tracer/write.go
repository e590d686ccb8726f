package tracer

import (
	"time"

	"golang.org/x/sys/unix"

	"hupt/http1"
)

// mostSent is how many bytes of one write hupt sends in the program's place. A
// head, and most responses, are shorter; the rest of a longer one, the task
// writes itself.
const mostSent = 64 << 10

// fullPause is how long a task waits that would block in a write of a head,
// before it makes its call again.
const fullPause = 2 * time.Millisecond

// writes are the calls that a head is written by.
func writes(nr int) bool {
	switch nr {
	case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG:
		return true
	}
	return false
}

// onWrite: a task of a generation that drains is about to write.
func (t *Tracer) onWrite(k *task, si syscallInfo) {
	if k.proc.gen.conns == nil {
		t.resume(k, 0)
		return
	}
	local, c := t.connOf(k, int(int32(si.Args[0])))
	if c == nil {
		t.resume(k, 0)
		return
	}
	stays := t.write(k, si, local, c)
	// Before the task goes on: it may close the connection.
	closeDuplicate(local)
	if si.Op == opEntry {
		k.keepRegisters()
	}
	// While the process is being stopped, the timer of a task that is parked
	// would wait for that.
	if !stays || k.proc.frozen {
		t.resume(k, 0)
	}
}

// keepRegisters makes what was set for a task whose call is skipped, at its
// entry, what it sees: stage 2's filter looks at the call after hupt does, finds
// none, and gives ENOSYS.
func (k *task) keepRegisters() {
	r, err := getRegisters(k.tid)
	if err == nil && !inSyscall(&r) {
		k.awaitsExit = func(int64) { setRegisters(k.tid, r) }
	}
}

// write makes the write of task k on connection c in its place if a head is in
// it. It reports whether the task is to stay where it is.
func (t *Tracer) write(k *task, si syscallInfo, local int, c *conn) (stays bool) {
	if k.short != nil {
		if r, err := getRegisters(k.tid); err != nil || k.short.strange(&r) {
			c.lose() // a signal handler writes in the middle of a write
			return false
		}
	}
	call, ok := describeWrite(k.tid, int(si.Nr), si.Args)
	if !ok || call.total() == 0 {
		c.lose()
		return false
	}
	const longest = len("HTTP/1.1 200")
	head, err := call.read(k.tid, longest)
	if err != nil || !c.sure(local, head) {
		return false
	}
	data, err := call.read(k.tid, mostSent)
	if err != nil {
		return false // the kernel will give EFAULT
	}
	q := c.parser
	edits := q.Feed(data, nil)
	if q.Lost() && len(edits) == 0 && c.begun == 0 {
		c.lose()
		return false
	}
	out := http1.Apply(data, edits)
	sent, err := send(local, out[c.begun:], call, call.total() > uint64(len(data)))
	if err != nil {
		return false // the program's own call will meet it
	}
	whole, begun := http1.Taken(len(data), edits, c.begun+sent)
	full := c.begun+sent < len(out)
	c.parser.Feed(data[:whole], nil)
	c.begun = begun
	if q.Lost() && whole > 0 {
		c.parser, c.begun = q, 0 // what is written again is not to be taken for right
	}
	c.wrote(local)
	return t.finish(k, si, call, int64(whole), full, local)
}

// send sends what is left of a write without waiting. An error that the
// program is to meet by itself is returned; that the socket is full is none.
func send(local int, b []byte, call *short, more bool) (int, error) {
	flags := unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL | int(call.flags&unix.MSG_MORE)
	if more {
		flags |= unix.MSG_MORE
	}
	for len(b) > 0 {
		n, err := unix.SendmsgN(local, b, nil, nil, flags)
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, nil
		}
		return n, err
	}
	return 0, nil
}

// finish lets the call of task k return what it would have, when n bytes of it
// were sent; full: the socket takes no more for now.
func (t *Tracer) finish(k *task, si syscallInfo, call *short, n int64, full bool, local int) (stays bool) {
	r, err := getRegisters(k.tid)
	if err != nil {
		return false
	}
	s := k.short // the call is a part of a longer one
	if s == nil {
		s = call
		s.resume, s.pc = r, programCounter(&r)-uint64(len(syscallInstruction))
		flags, err := unix.FcntlInt(uintptr(local), unix.F_GETFL, 0)
		s.nonBlock = call.flags&unix.MSG_DONTWAIT != 0 || err == nil && flags&unix.O_NONBLOCK != 0
	}
	s.take(n)
	switch {
	case len(s.rest) == 0, full && s.nonBlock:
		k.short = nil
		if s.done == 0 {
			s.done = -int64(unix.EAGAIN)
		}
		end := s.resume
		setResult(&end, s.done)
		setRegisters(k.tid, end)
		return false
	case n == 0:
		// It is to block, but what it is to send is not what it would send. So
		// it makes the same call again, until the socket takes something.
		s.tries = 0 // its skipped calls are exits, too
		setCall(&r, s.pc, int(si.Nr), si.Args)
		if setRegisters(k.tid, r) != nil {
			return false
		}
		t.park(k, fullPause)
		return true
	}
	k.short = s
	t.nextPart(k)
	return false
}

// park keeps a task where it is for a while.
func (t *Tracer) park(k *task, pause time.Duration) {
	k.parked = true
	t.later(k, pause, func() {
		if k.parked {
			t.resume(k, 0)
		}
	})
}

// describeWrite is describeTransfer for what a head can be in: nothing that
// does more than send bytes.
func describeWrite(tid, nr int, a [6]uint64) (*short, bool) {
	const known = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL | unix.MSG_MORE
	call, ok := describeTransfer(tid, nr, a)
	if !ok || call.flags&^known != 0 || nr == unix.SYS_SENDFILE || nr == unix.SYS_RECVFROM {
		return nil, false
	}
	if nr == unix.SYS_SENDMSG {
		b := make([]byte, msghdrLen)
		if readMemory(tid, a[1], b) != nil || order.Uint64(b[40:]) != 0 {
			return nil, false // with control data, a record type of kernel TLS, say
		}
	}
	return call, true
}

// read gives the first of the bytes to be written, most at most.
func (s *short) read(tid int, most int) ([]byte, error) {
	b := make([]byte, 0, min(s.total(), uint64(most)))
	for _, g := range s.rest {
		n := int(min(g.n, uint64(cap(b)-len(b))))
		if n == 0 {
			break
		}
		if err := readMemory(tid, g.addr, b[len(b):len(b)+n]); err != nil {
			return nil, err
		}
		b = b[:len(b)+n]
	}
	return b, nil
}
