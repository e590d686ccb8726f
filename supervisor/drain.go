package supervisor

import (
	"net/netip"
	"runtime"
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
	tellTick     = 250 * time.Millisecond // as many are left, but in other states
)

// drain counts the connections of a quiesced generation until over is closed.
func (s *Supervisor) drain(g *gen, over <-chan struct{}) {
	h := hastening{s: s, g: g}
	waited, abandoned := s.waitedFor(g.serves)
	d, a := newDrainage(waited), newDrainage(abandoned)
	last, lastAbandoned := -1, 0
	var told counts
	var toldAt time.Time
	unfinished, wasOpen := g.unfinished, false
	answersSince := time.Now()
	poked := time.Now()
	surplus := newSurplusDrain(g)
	runtime.LockOSThread() // for threadTime
	defer runtime.UnlockOSThread()
	for {
		spent := threadTime()
		accepts := !s.drainSurplus(g, surplus, over)
		left, err := d.look(s.tracer.Pids(g.traced), func() []int { return s.otherPids(g) })
		if err == nil && !accepts { // what is accepted just now is not idle
			h.step(d.open)
		}
		cut := 0
		if len(abandoned) > 0 && err == nil {
			cut, err = a.look(s.tracer.Pids(g.traced), func() []int { return nil })
		}
		open := unfinished || accepts || s.answers(g, answersSince)
		switch n := g.conns.counts(); {
		case err != nil:
		case left != last || cut != lastAbandoned || open != wasOpen:
			last, lastAbandoned, wasOpen, told, toldAt = left, cut, open, n, time.Now()
			s.later(generation.Counted{N: g.n, Left: left, Abandoned: cut, Open: open})
		case n != told && time.Since(toldAt) >= tellTick:
			told, toldAt = n, time.Now()
			s.tellCounts(g, left)
		}
		if unfinished {
			left, err := s.tracer.QuiesceRest(g.traced, g.held)
			unfinished = err == nil && len(left) > 0
		}
		if last > 0 && time.Since(poked) >= pokeTick {
			poked = time.Now()
			s.tracer.Poke(g.traced)
		}
		pause := min(max(drainTick, drainCost*(threadTime()-spent)), drainTickMax)
		select {
		case <-over:
			return
		case <-s.done:
			return
		case <-g.hurry:
		case <-time.After(pause):
		}
	}
}

// answerTime is how long a generation may take to answer datagrams that it
// received before it was quiesced. Nothing tells when it has.
const answerTime = 2 * time.Second

// answers reports whether a generation that was quiesced at since is to have
// time to answer datagrams.
func (s *Supervisor) answers(g *gen, since time.Time) bool {
	return s.tracer.Answers(g.traced) && (time.Since(since) < answerTime || s.tracer.Unread(g.traced))
}

// threadTime is the processor time that the calling thread has used. What a
// look costs is not how long it waited for others on a busy machine.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// waitedFor is those of names whose connections a drain waits for, and those
// whose connections are abandoned.
func (s *Supervisor) waitedFor(names []tracer.Name) (waited, abandoned []tracer.Name) {
	for _, n := range names {
		if s.cfg.drainMode(n.Address.Port()) == DrainNone {
			abandoned = append(abandoned, n)
		} else {
			waited = append(waited, n)
		}
	}
	return waited, abandoned
}

func has(open map[uint64]fdtable.Socket, inode uint64) bool {
	_, ok := open[inode]
	return ok
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
	if s.member != nil {
		pids = append(pids, s.member.pool.pids(s.member)...)
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
	open    map[uint64]fdtable.Socket // those of set that are open, as the last look saw them
}

func newDrainage(names []tracer.Name) *drainage {
	return &drainage{names: names, other: make(map[uint64]bool), unowned: make(map[uint64]time.Time)}
}

// inFlight is how long a connection that no process has may be on its way from
// one to another, in the queue of a Unix socket: node's cluster hands them on
// so. Beyond, some stranger has it.
const inFlight = 2 * time.Second

// look counts what is left. A dump of sock_diag is cheap, but one that runs
// while others come and go may miss a socket: it is believed when it shows
// something, and when it shows nothing, the processes' descriptors decide.
func (d *drainage) look(pids []int, others func() []int) (int, error) {
	open, peers, err := connected(d.names)
	if err != nil {
		return 0, err
	}
	if left := d.still(open); left > 0 {
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
	d.still(open)
	return len(set), nil
}

// still keeps what is left of the set, and counts it.
func (d *drainage) still(open map[uint64]fdtable.Socket) int {
	d.open = make(map[uint64]fdtable.Socket, len(d.set))
	for inode := range d.set {
		if s, ok := open[inode]; ok {
			d.open[inode] = s
		}
	}
	return len(d.open)
}

// mine reports whether a socket of the generation is such a connection.
func (d *drainage) mine(pid, fd int, inode uint64, open map[uint64]fdtable.Socket) bool {
	if has(open, inode) || d.set[inode] {
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
func (d *drainage) takeUnowned(set map[uint64]bool, open map[uint64]fdtable.Socket, others func() []int) {
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
		now, _, err := connected(d.names)
		for inode := range missing {
			if err == nil && !has(now, inode) {
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

// connected is the connections by inode, whose local end is one of
// names, and, of those over Unix sockets, the inodes of their other ends. An
// orphan, which no descriptor refers to any more, has inode 0.
func connected(names []tracer.Name) (open map[uint64]fdtable.Socket, peers map[uint64]uint64, err error) {
	open, peers = make(map[uint64]fdtable.Socket), make(map[uint64]uint64)
	add := func(sockets []fdtable.Socket, err error) error {
		for _, c := range sockets {
			if c.Inode != 0 && covers(names, tracer.NameOf(c)) {
				open[c.Inode] = c
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
			err = add(fdtable.DumpFlows(fdtable.Connected, one.Address.Port()))
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
func (s *Supervisor) listener(pids []int) int {
	listening, err := fdtable.DumpAll(fdtable.Listening)
	if err != nil {
		return 0
	}
	listening = append(listening, s.datagramServers()...)
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
