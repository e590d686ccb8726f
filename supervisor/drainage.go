package supervisor

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/tracer"
)

// drainage is what a drain knows of its connections. No new one can appear, so
// it watches a set shrink.
type drainage struct {
	names   []tracer.Name
	set     map[uint64]bool // inodes; some may have been closed since
	other   map[uint64]bool // inodes of sockets of the generation that are no such connections
	unowned map[uint64]time.Time
	open    map[uint64]fdtable.Socket // those of set that are open, as the last look saw them
	dumped  time.Time                 // when the last look at everything was
}

// While few are left, each is asked for, instead of all that the machine has. A
// look at everything comes still, now and then: it finds those again that the
// last one missed.
const (
	fewLeft    = 32
	lookAtFull = 500 * time.Millisecond
)

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
	if n := len(d.open); n > 0 && n <= fewLeft && time.Since(d.dumped) < lookAtFull {
		open, err := d.again(d.open)
		if err != nil {
			return 0, err
		}
		if d.open = open; len(open) > 0 {
			return len(open), nil
		}
	}
	d.dumped = time.Now()
	open, peers, err := connected(d.names)
	if err != nil {
		return 0, err
	}
	// One that the dump missed would be thought closed if the generation ended
	// before the next look.
	missing := maps.Clone(d.open)
	maps.DeleteFunc(missing, func(inode uint64, _ fdtable.Socket) bool { return has(open, inode) })
	if n := len(missing); n > 0 && n <= fewLeft {
		if now, err := d.again(missing); err == nil {
			maps.Copy(open, now)
		}
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
		was := make(map[uint64]fdtable.Socket, len(missing))
		for inode := range missing {
			was[inode] = open[inode]
		}
		if now, err := d.again(was); err == nil {
			maps.DeleteFunc(missing, func(inode uint64, _ bool) bool { return !has(now, inode) })
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

// again is those of some connections that are open still.
func (d *drainage) again(known map[uint64]fdtable.Socket) (map[uint64]fdtable.Socket, error) {
	if len(known) > fewLeft {
		open, _, err := connected(d.names)
		maps.DeleteFunc(open, func(inode uint64, _ fdtable.Socket) bool { return !has(known, inode) })
		return open, err
	}
	var tcp, local []fdtable.Socket
	for _, c := range known {
		if c.Family == unix.AF_UNIX {
			local = append(local, c)
		} else {
			tcp = append(tcp, c)
		}
	}
	now, err := fdtable.Again(tcp)
	if err == nil && len(local) > 0 {
		local, err = fdtable.DumpUnix(1 << fdtable.StateEstablished)
		now = append(now, local...)
	}
	open := make(map[uint64]fdtable.Socket, len(known))
	for _, c := range now {
		if has(known, c.Inode) {
			open[c.Inode] = c
		}
	}
	return open, err
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

func has(open map[uint64]fdtable.Socket, inode uint64) bool {
	_, ok := open[inode]
	return ok
}
