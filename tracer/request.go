package tracer

import (
	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/http1"
)

// A connection that was joined in the middle says nothing of where a response
// begins. What a server writes after the client has sent something may be a new
// response, or more of one that answers an upload which goes on. So the client's
// bytes are looked at, too, as the server reads them: if they are one request, all
// of it and nothing more, begun where the server last wrote, then what is written
// next is the head of its response.
//
// For that, a read of such a connection stops twice: at its entry, and at its exit,
// where the program has the bytes. Reads that are not seen (splice, recvmmsg, a
// ring) leave a hole; then nothing is known.

// asked is the request that a client may be sending on a connection of which it
// is not known where heads begin.
type asked struct {
	from  uint64 // where it begins, in what the client has sent
	based bool   // from is known
	at    uint64 // up to where it was followed
	http1.Request
	written uint64 // Written() when the last of it was read
}

// restart is for what follows in what the client sent: the program has read up to
// from, and written.
func (a *asked) restart(from uint64) { *a = asked{from: from, based: true, at: from} }

// answers reports whether what is written next, on a connection that stands like
// this, answers that request.
func (a *asked) answers(f fdtable.Flow) bool {
	return a.based && a.Whole() && a.at == f.Received && a.written == f.Written()
}

// reads are the calls that a request is read by.
func reads(nr int) bool {
	switch nr {
	case unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG:
		return true
	}
	return false
}

// onRead: a task of a generation that drains is about to read.
func (t *Tracer) onRead(k *task, si syscallInfo) {
	defer t.resume(k, 0)
	if k.proc.gen.conns == nil || k.awaitsExit != nil || k.short != nil {
		return
	}
	into, ok := describeRead(k.tid, int(si.Nr), si.Args)
	if !ok {
		return
	}
	fd := int(int32(si.Args[0]))
	local, c := t.connOf(k, fd)
	if c == nil {
		return
	}
	defer closeDuplicate(local)
	if c.stage != unsure || !c.asked.based || c.asked.None() || givesNothing(local, into) {
		return
	}
	k.awaitsExit = func(n int64) {
		if n <= 0 || k.proc.gen.conns == nil {
			return
		}
		local, now := t.connOf(k, fd)
		if now == c {
			c.asked.read(k.tid, local, into, uint64(n))
		}
		if local >= 0 {
			closeDuplicate(local)
		}
	}
}

// givesNothing reports whether a read of the socket would say EAGAIN, which is how
// event loops end. If something comes just then, there is a hole in what was seen.
func givesNothing(local int, call *short) bool {
	if n, err := unix.IoctlGetInt(local, unix.SIOCINQ); err != nil || n > 0 {
		return false
	}
	flags, err := unix.FcntlInt(uintptr(local), unix.F_GETFL, 0)
	return call.flags&unix.MSG_DONTWAIT != 0 || err == nil && flags&unix.O_NONBLOCK != 0
}

// read takes n bytes that task tid has just read into these segments.
func (a *asked) read(tid, local int, into *short, n uint64) {
	f, err := fdtable.FlowOf(local)
	if err != nil || !a.based || f.Consumed() != a.at+n {
		a.based = false // another one reads, too, or more has come since it was asked
		return
	}
	a.at += n
	a.written = f.Written()
	if a.Skip(n) {
		return
	}
	// What is not looked at is followed by nothing that could be.
	b, err := into.read(tid, int(min(n, mostSent)))
	if err != nil || uint64(len(b)) < n {
		a.based = false
		return
	}
	a.Feed(b)
}

// describeRead says where call nr puts what it reads, if that is all it does.
func describeRead(tid, nr int, a [6]uint64) (*short, bool) {
	const known = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL | unix.MSG_CMSG_CLOEXEC
	s := &short{fd: a[0]}
	switch nr {
	case unix.SYS_READ:
		s.rest = []segment{{a[1], a[2]}}
	case unix.SYS_RECVFROM:
		s.flags = a[3]
		s.rest = []segment{{a[1], a[2]}}
	case unix.SYS_READV:
		s.rest = segments(tid, a[1], a[2])
	case unix.SYS_RECVMSG:
		s.flags = a[2]
		b := make([]byte, msghdrLen)
		if readMemory(tid, a[1], b) != nil {
			return nil, false
		}
		s.rest = segments(tid, order.Uint64(b[16:]), order.Uint64(b[24:]))
	default:
		return nil, false
	}
	return s, s.flags&^known == 0 && len(s.rest) > 0
}
