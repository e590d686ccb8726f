package supervisor

import (
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

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
	open, peers, err := connections(d.names)
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
	own := make(map[uint64]bool)
	for _, pid := range pids {
		fds, err := fdtable.Sockets(pid)
		if err != nil {
			continue // it has ended
		}
		for fd, inode := range fds {
			own[inode] = true
			if d.mine(pid, fd, inode, open) {
				set[inode] = true
			}
		}
	}
	// Workers that are connected to their own master would never be done.
	for inode, peer := range peers {
		if own[peer] {
			delete(set, inode)
			delete(open, inode)
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
	if tracer.Accepted(pid, fd, func(c tracer.Name) bool { return covers(d.names, c) }) {
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
		now, _, err := connections(d.names)
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
// names, and, of those over Unix sockets, the inodes of their other ends. An
// orphan, which no descriptor refers to any more, has inode 0.
func connections(names []tracer.Name) (open map[uint64]bool, peers map[uint64]uint64, err error) {
	open, peers = make(map[uint64]bool), make(map[uint64]uint64)
	add := func(sockets []fdtable.Socket, err error) error {
		for _, c := range sockets {
			if c.Inode != 0 && covers(names, tracer.NameOf(c)) {
				open[c.Inode] = true
				if c.Peer != 0 {
					peers[c.Inode] = c.Peer
				}
			}
		}
		return err
	}
	seen := make(map[tracer.Name]bool)
	for _, n := range names {
		// One dump for all that share a port, and one for all Unix sockets.
		one := tracer.Name{Family: unix.AF_UNIX}
		if n.Family != unix.AF_UNIX {
			one = tracer.Name{Address: netip.AddrPortFrom(netip.Addr{}, n.Address.Port())}
		}
		if n.Datagram() || seen[one] {
			continue
		}
		seen[one] = true
		if one.Family == unix.AF_UNIX {
			err = add(fdtable.DumpUnix(1 << fdtable.StateEstablished))
		} else {
			err = add(fdtable.Dump(fdtable.Connected, one.Address.Port()))
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return open, peers, nil
}

// covers reports whether a connection whose local end is c came in by one of
// names.
func covers(names []tracer.Name, c tracer.Name) bool {
	return slices.ContainsFunc(names, func(n tracer.Name) bool { return n.Accepts(c) })
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
	listening, err := fdtable.DumpAll(fdtable.Listening)
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
