package supervisor

import (
	"net/netip"
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

// drain counts the connections of a quiesced generation until over is closed.
func (s *Supervisor) drain(g *gen, over <-chan struct{}) {
	d := drainage{names: g.serves, other: make(map[uint64]bool), unowned: make(map[uint64]time.Time)}
	last := -1
	unfinished := g.unfinished
	poked := time.Now()
	for {
		began := time.Now()
		left, err := d.look(s.tracer.Pids(g.traced), func() []int { return s.otherPids(g) })
		if unfinished && left == 0 {
			left = 1 // some process of it may accept yet
		}
		if err == nil && left != last {
			last = left
			s.later(generation.Counted{N: g.n, Left: last})
		}
		if unfinished {
			left, err := s.tracer.QuiesceRest(g.traced, g.held)
			unfinished = err == nil && len(left) > 0
		}
		if last > 0 && time.Since(poked) >= pokeTick {
			poked = time.Now()
			s.tracer.Poke(g.traced)
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

// otherPids is the processes of every generation but g.
func (s *Supervisor) otherPids(g *gen) (pids []int) {
	var others []*tracer.Generation
	s.call(func() {
		for _, o := range s.gens {
			if o != g && o.traced != nil {
				others = append(others, o.traced)
			}
		}
	})
	for _, o := range others {
		pids = append(pids, s.tracer.Pids(o)...)
	}
	return pids
}

// drainage is what a drain knows of its connections. No new one can appear, so
// it watches a set shrink.
type drainage struct {
	names   []tracer.Name
	set     map[uint64]bool // inodes; some may have been closed since
	other   map[uint64]bool // inodes of sockets of the generation that are no such connections
	unowned map[uint64]time.Time
}

// inFlight is how long a connection that no process has may be on its way from
// one to another, in the queue of a Unix socket: node's cluster hands them on
// so. Beyond, some stranger has it.
const inFlight = 2 * time.Second

// look counts what is left. A dump of sock_diag is cheap, but one that runs
// while others come and go may miss a socket: it is believed when it shows
// something, and when it shows nothing, the processes' descriptors decide.
func (d *drainage) look(pids []int, others func() []int) (int, error) {
	open, err := connections(d.names)
	if err != nil {
		return 0, err
	}
	left := 0
	for inode := range d.set {
		if open[inode] {
			left++
		}
	}
	if left > 0 {
		return left, nil
	}
	set := make(map[uint64]bool)
	for _, pid := range pids {
		fds, err := fdtable.Sockets(pid)
		if err != nil {
			continue // it has ended
		}
		for fd, inode := range fds {
			if d.mine(pid, fd, inode, open) {
				set[inode] = true
			}
		}
	}
	d.takeUnowned(set, open, others)
	d.set = set
	return len(set), nil
}

// mine reports whether a socket of the generation is such a connection.
func (d *drainage) mine(pid, fd int, inode uint64, open map[uint64]bool) bool {
	if open[inode] || d.set[inode] {
		return true
	}
	if d.other[inode] {
		return false
	}
	if tracer.Accepted(pid, fd, d.covers) {
		return true
	}
	d.other[inode] = true
	return false
}

// takeUnowned adds connections that no process of any generation has to set,
// for as long as they may be in flight.
func (d *drainage) takeUnowned(set, open map[uint64]bool, others func() []int) {
	missing := make(map[uint64]bool)
	for inode := range open {
		if !set[inode] {
			missing[inode] = true
		}
	}
	if len(missing) > 0 {
		for inode := range ofProcesses(others(), missing) {
			delete(missing, inode)
		}
	}
	if len(missing) > 0 {
		// Most of what nobody has was closed since the first look.
		now, err := connections(d.names)
		for inode := range missing {
			if err == nil && !now[inode] {
				delete(missing, inode)
			}
		}
	}
	for inode := range missing {
		since, seen := d.unowned[inode]
		if !seen {
			since = time.Now()
			d.unowned[inode] = since
		}
		if time.Since(since) < inFlight {
			set[inode] = true
		}
	}
}

// connections is the inodes of the connections whose local end is one of
// names. An orphan, which no descriptor refers to any more, has inode 0.
func connections(names []tracer.Name) (map[uint64]bool, error) {
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
			return nil, err
		}
		for _, c := range sockets {
			if c.Inode != 0 && covers(names, c.Local) {
				open[c.Inode] = true
			}
		}
	}
	return open, nil
}

func (d *drainage) covers(local netip.AddrPort) bool { return covers(d.names, local) }

// covers reports whether a connection to local is one to some of names.
func covers(names []tracer.Name, local netip.AddrPort) bool {
	for _, n := range names {
		a := n.Address
		if a.Port() == local.Port() && (a.Addr().IsUnspecified() || a.Addr().Unmap() == local.Addr().Unmap()) {
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
