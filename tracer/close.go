package tracer

import (
	"errors"
	"fmt"
	"slices"

	"hupt/fdtable"
	"hupt/seccomp"
)

// How a program is made to say Connection: close (RFC 9112, 9.6) in the
// responses that it still sends while it drains.
//
// One more filter stops its writes, and its reads (see request.go): in this
// generation alone, which is going away, so nobody else pays. At a write's stop hupt sends what the task was about to
// write on a duplicate of the socket, with the header in it, and lets the call
// return what it would have returned. Nothing is put into the program's memory,
// and a write has no second stop. The duplicate lives for that moment only: one
// that is kept would keep the connection open when the program closes it.

// SayClose makes g say close on the connections with these inodes, whose local
// ports are given, in the next response of each. It can't be taken back: a
// generation that is resumed goes on to stop at its writes (see ForgetConns).
//
// step: without a filter, which would survive an execve: every system call of g
// stops until it has gone, or executes its next program, or is resumed.
//
// What is refused is told in words, a line for each process that goes on
// without; left are those that did not stop in time: call it again for them.
func (t *Tracer) SayClose(g *Generation, inodes map[uint64]bool, ports []uint16, step bool) (left []int, refused []string) {
	t.Do(func() {
		if !g.quiesced {
			return // it was resumed meanwhile
		}
		if g.conns == nil {
			g.conns = make(map[uint64]*conn, len(inodes))
		}
		for inode := range inodes {
			if g.conns[inode] == nil {
				g.conns[inode] = &conn{}
			}
		}
		if step {
			left, refused = t.step(g)
			g.baseline(ports)
			return
		}
		done := make(map[int]bool)
		for {
			p := g.next(done)
			if p == nil {
				break
			}
			done[p.pid] = true
			err := t.traceTraffic(p, inodes)
			switch {
			case err == nil, gone(err):
			case errors.Is(err, errNotFrozen):
				left = append(left, p.pid)
			default:
				refused = append(refused, fmt.Sprintf("process %d: %v", p.pid, err))
			}
		}
		g.baseline(ports)
	})
	return left, refused
}

// step makes every task of g stop at its system calls. Those that are in one
// make it again, so that it is seen. A sandboxed process is left alone: a call
// that hupt makes in its place looks to its filter like none that it knows.
func (t *Tracer) step(g *Generation) (left []int, refused []string) {
	for _, p := range g.procs {
		switch {
		case p.stepping:
		case filters(p.pid) > t.ownFilters(p):
			refused = append(refused, fmt.Sprintf("process %d has a seccomp filter of its own", p.pid))
		default:
			p.stepping = true
			if !t.freeze(p, freezeTimeout) {
				p.stepping = false
				left = append(left, p.pid)
			}
			t.thaw(p)
		}
	}
	return left, refused
}

// next is a process of g that is not done, nil if all are.
func (g *Generation) next(done map[int]bool) *process {
	for pid, p := range g.procs {
		if !done[pid] {
			return p
		}
	}
	return nil
}

// ForgetConns leaves the connections of g alone from here on: it was resumed.
// It reports whether its writes stop for good, since a filter can't be removed.
func (t *Tracer) ForgetConns(g *Generation) (slow bool) {
	t.Do(func() {
		g.conns = nil
		for _, p := range g.procs {
			slow = slow || p.trafficTo > 0
			if !p.stepping {
				continue
			}
			p.stepping = false
			for _, k := range p.tasks {
				interrupt(k.tid)
			}
		}
	})
	return slow
}

// traceTraffic puts the filter into process p if it has some of the connections.
func (t *Tracer) traceTraffic(p *process, inodes map[uint64]bool) error {
	sockets, err := fdtable.Sockets(p.pid)
	if err != nil {
		return nil // it has ended, or can't be read, and then could not be quiesced
	}
	var fds []int
	for fd, inode := range sockets {
		if inodes[inode] {
			fds = append(fds, fd)
		}
	}
	if len(fds) == 0 {
		return nil
	}
	lo, hi := slices.Min(fds), slices.Max(fds)
	if p.trafficFrom <= lo && hi <= p.trafficTo {
		return nil // it has one that does
	}
	err = t.inject(p, func(i *injection) error { return i.addFilter(seccomp.Traffic(auditArch, lo, hi)) })
	if err == nil {
		p.trafficFrom, p.trafficTo = lo, hi
	}
	return err
}
