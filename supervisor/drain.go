package supervisor

import (
	"time"

	"hupt/fdtable"
	"hupt/generation"
	"hupt/tracer"
)

// How often a drain looks. A look at n connections costs about a
// microsecond each; one never takes more than a tenth of the time.
const (
	drainTick    = 10 * time.Millisecond
	drainTickMax = 500 * time.Millisecond
	drainCost    = 10
	pokeTick     = 100 * time.Millisecond
)

// drain counts the connections of a quiesced generation until over is closed. No
// new one can appear, so the set of their inodes is taken once, and watched
// while it shrinks. What was on its way between two processes, in the queue of
// a Unix socket, is found when the set is empty and taken anew.
func (s *Supervisor) drain(g *gen, over <-chan struct{}) {
	var set map[uint64]bool
	last := -1
	unfinished := g.unfinished
	poked := time.Now()
	for {
		began := time.Now()
		open := connections(g.serves)
		for inode := range set {
			if !open[inode] {
				delete(set, inode)
			}
		}
		if len(set) == 0 {
			set = ofProcesses(s.tracer.Pids(g.traced), open)
		}
		if len(set) != last {
			last = len(set)
			s.later(generation.Counted{N: g.n, Left: last})
		}
		if time.Since(poked) >= pokeTick {
			poked = time.Now()
			if unfinished {
				left, err := s.tracer.QuiesceRest(g.traced, g.held)
				unfinished = err == nil && len(left) > 0
			}
			if last > 0 {
				s.tracer.Poke(g.traced)
			}
		}
		pause := min(max(drainTick, drainCost*time.Since(began)), drainTickMax)
		select {
		case <-over:
			return
		case <-s.done:
			return
		case <-time.After(pause):
		}
	}
}

// connections is the inodes of the connections whose local end is one of
// names. An orphan, which no descriptor refers to any more, has inode 0.
func connections(names []tracer.Name) map[uint64]bool {
	open := make(map[uint64]bool)
	seen := make(map[uint16]bool)
	for _, n := range names {
		port := n.Address.Port()
		if seen[port] {
			continue
		}
		seen[port] = true
		sockets, err := fdtable.Dump(fdtable.Connected, port)
		if err != nil {
			continue
		}
		for _, c := range sockets {
			if c.Inode != 0 && among(names, c) {
				open[c.Inode] = true
			}
		}
	}
	return open
}

func among(names []tracer.Name, c fdtable.Socket) bool {
	for _, n := range names {
		a := n.Address
		if a.Port() == c.Local.Port() && (a.Addr().IsUnspecified() || a.Addr().Unmap() == c.Local.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// ofProcesses is those of the open connections that some process has.
func ofProcesses(pids []int, open map[uint64]bool) map[uint64]bool {
	out := make(map[uint64]bool)
	if len(open) == 0 {
		return out
	}
	for _, pid := range pids {
		sockets, err := fdtable.Sockets(pid)
		if err != nil {
			continue
		}
		for _, inode := range sockets {
			if open[inode] {
				out[inode] = true
			}
		}
	}
	return out
}

// listener is the eldest of pids that listens on something; 0: none does.
func listener(pids []int) int {
	listening, err := fdtable.Dump(fdtable.Listening, 0)
	if err != nil {
		return 0
	}
	open := make(map[uint64]bool)
	for _, l := range listening {
		open[l.Inode] = true
	}
	for _, pid := range pids {
		if len(ofProcesses([]int{pid}, open)) > 0 {
			return pid
		}
	}
	return 0
}
