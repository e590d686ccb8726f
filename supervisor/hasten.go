package supervisor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"hupt/fdtable"
	"hupt/generation"
	"hupt/tracer"
)

// hastening is what is done to the connections of a generation so that its
// drain ends: they are told to close, and closed when they are idle. It belongs
// to the goroutine of the drain.
//
// It begins once nobody will want the generation back. Until the end of the
// probation nothing could end anyway, and a filter can't be taken off: one that
// is resumed in its probation runs as if nothing had happened.
type hastening struct {
	s      *Supervisor
	g      *gen
	begun  bool
	waits  bool // the next generation waits for this one to end
	exec   bool // …and will be executed in its process
	unseen bool // what these connections say is of interest from the next look on
	left   bool // some processes don't say close yet
	tried  time.Time
	where  map[uint64]place
	found  time.Time // when where was filled
}

// place is a descriptor.
type place struct{ pid, fd int }

// step looks at the connections that are left, and does what is due.
func (h *hastening) step(open map[uint64]fdtable.Socket) {
	switch {
	case !h.begun && !h.final():
		h.g.conns.look(open, nil)
		return
	case !h.begun || h.left && time.Since(h.tried) >= pokeTick:
		h.begun = true
		h.sayClose(open)
		h.unseen = true
		return
	case h.unseen:
		// What was said up to here went by unseen, and is in open.
		h.unseen = false
		h.g.conns.begin()
	}
	h.g.conns.look(open, h.s.tracer.Conns(h.g.traced))
	h.close()
}

// sayClose makes the processes say close in their responses.
func (h *hastening) sayClose(open map[uint64]fdtable.Socket) {
	h.tried = time.Now()
	inodes := make(map[uint64]bool)
	ports := make(map[uint16]bool)
	for inode, s := range open {
		port := s.Local.Port()
		if port != 0 && h.s.cfg.drainMode(port) >= DrainHTTP {
			inodes[inode], ports[port] = true, true
		}
	}
	if len(inodes) == 0 {
		h.left = false
		return
	}
	left, refused := h.s.tracer.SayClose(h.g.traced, inodes, mapKeys(ports), h.exec)
	h.left = len(left) > 0
	for _, why := range refused {
		h.s.warn(h.g.n, fmt.Sprintf("its responses can't be made to say Connection: close: %s", why))
	}
}

// close closes for reading what is due.
func (h *hastening) close() {
	cfg := &h.s.cfg
	grace, spread := cfg.closing(h.waits)
	now := time.Now()
	var due []*connection
	h.g.conns.mu.Lock()
	for _, k := range h.g.conns.known {
		port := k.socket.Local.Port()
		if port != 0 && k.due(cfg.drainMode(port), grace, spread, now) {
			due = append(due, k)
		}
	}
	h.g.conns.mu.Unlock()
	if len(due) == 0 {
		return
	}
	for _, k := range due {
		if _, ok := h.where[k.socket.Inode]; !ok && time.Since(h.found) >= pokeTick {
			h.find()
			break
		}
	}
	for _, k := range due {
		p, ok := h.where[k.socket.Inode]
		if !ok {
			continue // on its way from one process to another
		}
		seen := k.socket.Flow
		done, err := tracer.ShutRead(p.pid, p.fd, k.socket.Inode, func(f fdtable.Flow) bool {
			return k.silent(f) && f.Received == seen.Received && f.Written() == seen.Written()
		})
		if err != nil {
			delete(h.where, k.socket.Inode) // it is elsewhere by now, or closed
		}
		if done {
			h.g.conns.mu.Lock()
			k.shut = true
			h.g.conns.mu.Unlock()
		}
	}
}

// find looks up which process has which connection.
func (h *hastening) find() {
	h.found = time.Now()
	h.where = make(map[uint64]place)
	for _, pid := range h.s.tracer.Pids(h.g.traced) {
		sockets, err := fdtable.Sockets(pid)
		if err != nil {
			continue
		}
		for fd, inode := range sockets {
			h.where[inode] = place{pid, fd}
		}
	}
}

// final reports whether the generation is not to be resumed any more.
func (h *hastening) final() (yes bool) {
	h.s.call(func() {
		yes = h.s.machine.Final(h.g.n)
		h.waits, h.exec = h.s.machine.Awaited(h.g.n)
	})
	return yes
}

// warn publishes a warning from beside the loop.
func (s *Supervisor) warn(n int, text string) {
	s.call(func() {
		s.publish(Event{Kind: EventWarning, Generation: n, Reason: fmt.Sprintf("generation %d: %s", n, text)})
	})
}

// tellCounts publishes that connections changed their states.
func (s *Supervisor) tellCounts(g *gen, left int) {
	s.call(func() {
		if m := s.machine.Gen(g.n); m != nil && m.Phase == generation.Draining {
			s.act(generation.Report{Kind: string(EventDraining), N: g.n, Left: left})
		}
	})
}

func sortConnections(c []ConnectionStatus) {
	slices.SortFunc(c, func(a, b ConnectionStatus) int { return cmp.Compare(a.Inode, b.Inode) })
}

func mapKeys(m map[uint16]bool) (out []uint16) {
	for k := range m {
		out = append(out, k)
	}
	return out
}
