package tracer

import (
	"bytes"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/http1"
)

// conn is an accepted connection of a generation that drains.
type conn struct {
	stage    connStage
	protocol Protocol
	parser   http1.Parser // from inSync on
	begun    int          // bytes that went out for the byte that the program writes next
	at       uint64       // Written() after the last write that was followed

	// received is how much the client had sent when the server last wrote, or
	// when its writes began to stop.
	received uint64
	asked    asked // while it is unsure

	wroteOnce bool // received is of a write that was seen

	said bool   // a head that says close has passed
	end  uint64 // Written() at the end of that response; 0: not known
}

type connStage int

const (
	unsure connStage = iota // where a head begins is not known
	inSync
	over // nothing is to be done to it any more
)

// Protocol is what a connection speaks, as far as was seen.
type Protocol string

// The protocols. A connection that has said nothing since its generation
// drains is unknown: what was said before, nobody looked at.
const (
	ProtocolUnknown   Protocol = ""
	ProtocolHTTP1     Protocol = "http/1"
	ProtocolHTTP2     Protocol = "http/2"
	ProtocolTLS       Protocol = "tls"
	ProtocolWebsocket Protocol = "websocket" // or whatever a 101 switched to
	ProtocolOther     Protocol = "other"
)

// Conn is what is known of a connection by its writes.
type Conn struct {
	Protocol Protocol
	// Said: a response head has passed that says close. End is the Written of
	// its Flow when that response is whole; 0: that can't be told.
	Said bool
	End  uint64
	// Wrote: the program wrote while it was looked at; the client had sent
	// Received by then.
	Wrote    bool
	Received uint64
}

// Conns is what is known of the connections that SayClose was told of, by inode.
func (t *Tracer) Conns(g *Generation) map[uint64]Conn {
	out := make(map[uint64]Conn)
	t.Do(func() {
		for inode, c := range g.conns {
			out[inode] = Conn{Protocol: c.protocol, Said: c.said, End: c.end, Wrote: c.wroteOnce, Received: c.received}
		}
	})
	return out
}

// baseline notes how much each client has sent by now. From here on every write
// of g is seen, so what comes after this came after all that was written unseen.
func (g *Generation) baseline(ports []uint16) {
	for _, port := range ports {
		sockets, err := fdtable.DumpFlows(fdtable.Connected, port)
		if err != nil {
			continue // they become known at their first write
		}
		for _, s := range sockets {
			if c := g.conns[s.Inode]; c != nil && !c.asked.based && !c.wroteOnce {
				c.received = s.Received
				c.asked.restart(s.Consumed())
			}
		}
	}
}

// sure reports whether the write that begins with head begins at a response
// head, or goes on where the parser stands. local is hupt's duplicate.
//
// Of a connection that was joined somewhere, that is known if nothing was ever
// written on it, or if the program has read a whole request since it last wrote,
// and nothing more has come. Only then, and never because something looks like a
// head: a body may, too; nor because the client has sent something: that may be more
// of an upload.
func (c *conn) sure(local int, head []byte) bool {
	f, err := fdtable.FlowOf(local)
	if err != nil {
		c.stage = over
		return false
	}
	answers := c.asked.answers(f)
	c.received, c.wroteOnce = f.Received, true
	c.asked.restart(f.Consumed())
	if c.stage == over {
		return false
	}
	if c.stage == inSync {
		if f.Written() == c.at {
			return true
		}
		c.lose() // something was written that did not stop: sendfile
		if c.stage == over {
			return false
		}
	}
	looks, protocol := looksLike(head, f.Segments == 0)
	if c.protocol == ProtocolUnknown || protocol == ProtocolHTTP1 {
		c.protocol = protocol
	}
	ok := looks && (f.Segments == 0 && f.Unsent == 0 || answers)
	if ok {
		c.stage, c.parser, c.begun = inSync, http1.Parser{}, 0
	}
	return ok
}

// lose gives up what is known of where heads begin.
func (c *conn) lose() {
	c.stage, c.begun = unsure, 0
	if c.said {
		c.stage, c.end = over, 0
	}
}

// looksLike says what a write that begins so may be part of; first: it is the
// first on its connection.
func looksLike(head []byte, first bool) (http bool, p Protocol) {
	const start = "HTTP/1."
	n := min(len(head), len(start))
	switch {
	case n > 0 && string(head[:n]) == start[:n]:
		return true, ProtocolHTTP1
	case len(head) >= 3 && head[0] >= 20 && head[0] <= 23 && head[1] == 3 && head[2] <= 4:
		return false, ProtocolTLS // a record (RFC 8446, 5.1)
	case first && len(head) >= 9 && bytes.Equal(head[3:9], []byte{4, 0, 0, 0, 0, 0}):
		return false, ProtocolHTTP2 // SETTINGS, which come first (RFC 9113, 3.4)
	case first:
		return false, ProtocolOther
	}
	return false, ProtocolUnknown // it may be in the middle of a response
}

// wrote notes where the parser stands after bytes that the kernel took.
func (c *conn) wrote(local int) {
	f, err := fdtable.FlowOf(local)
	if err != nil {
		c.stage = over
		return
	}
	c.at = f.Written()
	p := &c.parser
	switch {
	case p.Lost():
		c.lose()
	case p.Upgraded():
		c.stage, c.protocol = over, ProtocolWebsocket
	}
	if !p.Said() || c.stage != inSync {
		return
	}
	c.said = true
	left, counted := p.Left()
	switch {
	case counted:
		c.stage, c.end = over, c.at+left
	case p.Whole():
		c.stage, c.end = over, c.at
	case !p.Chunked():
		c.stage = over // it ends with the connection
	}
}

// connOf duplicates descriptor fd of task k if it is a connection of its
// generation that drains; the caller closes it at once.
func (t *Tracer) connOf(k *task, fd int) (local int, c *conn) {
	if k.tid != k.proc.pid && !sharesTable(k.proc.pid, k.tid) {
		return -1, nil
	}
	local, err := k.proc.duplicate(fd)
	if err != nil {
		return -1, nil
	}
	var st unix.Stat_t
	if unix.Fstat(local, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		c = k.proc.gen.conns[st.Ino]
	}
	if c == nil {
		closeDuplicate(local)
	}
	return local, c
}

// duplicate is takeFD by a pidfd that is kept, for where it must be quick.
func (p *process) duplicate(fd int) (int, error) {
	if p.pidfd == 0 {
		n, err := unix.PidfdOpen(p.pid, 0)
		if err != nil {
			return -1, err
		}
		p.pidfd = n
	}
	n, err := unix.PidfdGetfd(p.pidfd, fd, 0)
	if err == unix.ESRCH {
		return takeFD(p.pid, fd) // its first thread has ended
	}
	return n, err
}

func (p *process) closePidfd() {
	if p.pidfd != 0 {
		unix.Close(p.pidfd)
		p.pidfd = 0
	}
}
