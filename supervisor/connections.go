package supervisor

import (
	"sync"
	"time"

	"hupt/fdtable"
	"hupt/tracer"
)

// ConnectionState is where a connection stands between requests.
type ConnectionState string

// The states. Of a protocol that is not known, the last word decides: if it
// is the client's, it waits for an answer.
const (
	ConnectionNew     ConnectionState = "new"     // nothing was said yet
	ConnectionBusy    ConnectionState = "busy"    // a request is in flight, or bytes are on their way
	ConnectionIdle    ConnectionState = "idle"    // the last word was the server's; nothing is unread or unsent
	ConnectionClosing ConnectionState = "closing" // the client was told to close and has the whole answer; or hupt ended it
)

// connections is what is known of a generation's accepted connections, by
// inode. The zero value is ready.
type connections struct {
	mu    sync.Mutex
	begun time.Time // when the drain was hastened; zero: not yet
	known map[uint64]*connection
	n     counts // as of the last look of the drain
}

// counts is how many were in which state when the drain last looked.
func (c *connections) counts() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

type connection struct {
	socket fdtable.Socket
	tracer.Conn
	seen      time.Time // first
	quiet     time.Time // since when nothing has come or gone, as far as is known
	since     fdtable.Flow
	talked    bool // something came or went while it drained
	shut      bool // hupt closed it for reading
	shutTries int
}

// counts is how many connections are in each state.
type counts struct{ busy, idle, closing int }

// begin says that from here on what was said is of interest.
func (c *connections) begin() {
	c.mu.Lock()
	c.begun = time.Now()
	c.mu.Unlock()
}

// look is update for the drain.
func (c *connections) look(open map[uint64]fdtable.Socket, said map[uint64]tracer.Conn) {
	n := c.update(open, said)
	c.mu.Lock()
	c.n = n
	c.mu.Unlock()
}

// update takes what a look showed.
func (c *connections) update(open map[uint64]fdtable.Socket, said map[uint64]tracer.Conn) (n counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.known == nil {
		c.known = make(map[uint64]*connection, len(open))
	}
	for inode := range c.known {
		if _, ok := open[inode]; !ok {
			delete(c.known, inode)
		}
	}
	for inode, s := range open {
		k := c.known[inode]
		if k == nil {
			k = &connection{seen: now, since: s.Flow, quiet: now.Add(-s.Silent())}
			c.known[inode] = k
		}
		if k.quiet.Before(c.begun) {
			// What was said before, nobody looked at: it counts from here.
			k.quiet, k.since = c.begun, s.Flow
		}
		if s.Received != k.since.Received || s.Written() != k.since.Written() {
			k.talked = k.talked || !c.begun.IsZero()
			k.quiet, k.since = now, s.Flow
		}
		k.socket = s
		k.Conn = said[inode]
		switch k.state() {
		case ConnectionBusy:
			n.busy++
		case ConnectionClosing:
			n.closing++
		default:
			n.idle++
		}
	}
	return n
}

// answered reports whether the client has the whole of a response that said
// close.
func (k *connection) answered(f fdtable.Flow) bool {
	return k.Said && k.End > 0 && f.Written() >= k.End
}

func (k *connection) state() ConnectionState {
	f := k.socket.Flow
	switch {
	case k.shut:
		return ConnectionClosing
	case !k.silent(f):
		return ConnectionBusy
	case k.answered(f):
		return ConnectionClosing
	case untouched(f):
		return ConnectionNew
	}
	return ConnectionIdle
}

// silent reports whether nothing is on its way and the last word was the
// server's, or nobody has said anything.
func (k *connection) silent(f fdtable.Flow) bool {
	switch {
	case f.Unread > 0 || f.Unsent > 0:
		return false
	case k.Said && !k.answered(f):
		return false // in the middle of a response, or nobody knows
	}
	return k.lastWord(f) != fdtable.Client
}

// lastWord is exact for what was written while the generation drained.
func (k *connection) lastWord(f fdtable.Flow) fdtable.Speaker {
	switch {
	case !k.Wrote:
		return f.LastWord()
	case f.Received > k.Conn.Received:
		return fdtable.Client
	}
	return fdtable.Server
}

// doubt is by how much longer one is waited for of which the last word may be
// the client's: a request that followed a response within a tick of the
// kernel's clock.
const doubt = 4

// enough is how long a client that was told to close, and has the whole
// response, is waited for: it only has to call close.
const enough = time.Second

// newGrace is the least grace of a connection on which nobody has said anything yet. Whoever
// connects means to ask, and on a busy machine may be kept from it for longer than
// an idle client is. Go's http.Server.Shutdown leaves such a one as long.
const newGrace = 5 * time.Second

// untouched reports whether nobody has said anything on it.
func untouched(f fdtable.Flow) bool { return f.Received == 0 && f.Segments == 0 }

// due reports whether the connection is to be closed for reading by now.
func (k *connection) due(mode DrainMode, grace, spread time.Duration, now time.Time) bool {
	f := k.socket.Flow
	if k.shut || mode < DrainHTTP || !k.silent(f) {
		return false
	}
	quiet := now.Sub(k.quiet)
	if k.answered(f) && quiet >= enough {
		return true
	}
	switch k.Protocol {
	case tracer.ProtocolHTTP1:
	case tracer.ProtocolTLS, tracer.ProtocolHTTP2:
		if mode < DrainIdle {
			return false
		}
	default:
		// What it speaks was not seen. If it speaks, it is not HTTP.
		if mode < DrainIdle || k.talked || k.Wrote {
			return false
		}
	}
	switch {
	case untouched(f):
		grace = max(grace, newGrace)
	case k.lastWord(f) == fdtable.EitherOne:
		grace *= doubt
	}
	return quiet >= grace+share(k.socket.Inode, spread)
}

// share is a part of spread by which this connection is closed later than
// others, the same every time.
func share(inode uint64, spread time.Duration) time.Duration {
	const parts = 1009
	return spread * time.Duration(inode*7919%parts) / parts
}

// ConnectionStatus is one accepted connection of a generation.
type ConnectionStatus struct {
	Local    string          `json:"local"`
	Remote   string          `json:"remote"`
	Inode    uint64          `json:"inode"`
	Protocol string          `json:"protocol,omitempty"` // "http/1", "http/2", "tls", "websocket", "other"; not seen yet: left out
	State    ConnectionState `json:"state"`
	// Seen is how many seconds ago hupt first saw it: at the quiesce, or at the
	// first status that asked for connections.
	Seen     float64 `json:"seen_s"`
	Received uint64  `json:"received_bytes"`
	Sent     uint64  `json:"sent_bytes"` // that the client acknowledged
	Unread   int     `json:"unread_bytes"`
	Unsent   int     `json:"unsent_bytes"`
	// Seconds since the last data; since it was accepted, if there was none.
	LastReceived float64 `json:"last_received_s"`
	LastSent     float64 `json:"last_sent_s"`
}

// list is all of them, the eldest first.
func (c *connections) list() []ConnectionStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]ConnectionStatus, 0, len(c.known))
	for inode, k := range c.known {
		s := k.socket
		n := tracer.NameOf(s)
		remote := s.Remote.String()
		if !s.Remote.IsValid() {
			remote = ""
		}
		protocol := k.Protocol
		out = append(out, ConnectionStatus{
			Local: n.Text(), Remote: remote, Inode: inode, Protocol: string(protocol), State: k.state(),
			Seen: time.Since(k.seen).Seconds(), Received: s.Received, Sent: s.Acked, Unread: s.Unread, Unsent: s.Unsent,
			LastReceived: s.SinceReceived.Seconds(), LastSent: s.SinceSent.Seconds(),
		})
	}
	sortConnections(out)
	return out
}
