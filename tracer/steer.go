package tracer

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/reuseport"
)

// What a restart does with SO_REUSEPORT groups. All sockets of a group share
// what comes in, so a socket that is to be closed, or whose generation may yet
// fail, must get nothing first: it is shunned. The group's choice is then left
// to a program (package reuseport) that knows the others only.
//
// A new generation that has more sockets than the one before joins the group
// with those that it could not adopt, and they are shunned until its probation
// is over. One that has fewer leaves some over: the old generation goes on
// accepting on these until nothing is left in their queues (Surplus, Part).

// shares reports whether the socket is one of an SO_REUSEPORT group.
func shares(fd int) bool {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
	return err == nil && v != 0
}

// takesOver reports whether g is the new generation of a restart. What is kept
// for a revival is no generation's that could be returned to.
func (g *Generation) takesOver() bool {
	return slices.ContainsFunc(g.offers, func(o *offer) bool { return o.held.FD >= 0 && !o.held.kept })
}

// joins: task k's socket inode is about to join a group with its generation's
// descriptor fd. If sockets of it are held, the new one is shunned.
// at is where it is about to be bound, if it is not yet.
func (t *Tracer) joins(k *task, fd int, inode uint64, at Name) {
	g := k.proc.gen
	if g.settled || !g.takesOver() || slices.ContainsFunc(g.offers, func(o *offer) bool { return o.held.Inode == inode }) {
		return
	}
	local, err := k.takeFD(fd)
	if err != nil {
		return
	}
	n, err := nameOf(local)
	if at.Address.Port() != 0 {
		n.Address = at.Address
		n.V6Only = n.V6Only || n.Family == unix.AF_INET6 && !n.Address.Addr().IsUnspecified()
	}
	if err != nil || !shares(local) || len(t.group(n)) == 0 {
		closeDuplicate(local)
		return
	}
	h := &Held{FD: local, Inode: inode, Name: n}
	if t.chosen[n] == nil { // else whoever joins is left out already
		if err := t.steer(n); err != nil {
			// It gets its share at once, and a failure of this generation loses that.
			t.tell(Note{Kind: NoteWarning, Generation: g, Text: fmt.Sprintf("%s: %v", n, err)})
			h.close()
			return
		}
	}
	g.joined = append(g.joined, h)
	t.shunned[inode] = h
}

// group is the sockets of hupt's in a group: those held, and those shunned.
func (t *Tracer) group(n Name) (out []*Held) {
	seen := make(map[uint64]bool)
	add := func(h *Held) {
		if h.FD >= 0 && h.Name == n && !seen[h.Inode] && shares(h.FD) && h.open() {
			seen[h.Inode] = true
			out = append(out, h)
		}
	}
	for _, g := range t.generations {
		for _, o := range g.offers {
			add(o.held)
		}
		for _, h := range g.lets {
			add(h)
		}
	}
	for _, h := range t.shunned {
		add(h)
	}
	return out
}

// open reports whether the socket listens, or is bound if it takes datagrams:
// from then on it is in its group.
func (h *Held) open() bool {
	if h.Name.Datagram() {
		n, err := nameOf(h.FD)
		return err == nil && n.Address.Port() != 0
	}
	v, err := unix.GetsockoptInt(h.FD, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && v != 0
}

// order finds which socket of a group has which place; nil: a stranger.
func (t *Tracer) order(n Name) (g reuseport.Group, order []*Held, err error) {
	// A socket that just began to listen has a place a moment later.
	for range 5 {
		members := t.group(n)
		var size int
		if size, err = groupSize(n); err != nil {
			return g, nil, err
		}
		g = reuseport.Group{Address: n.Address, Type: n.Type, Size: max(size, len(members)), Chosen: t.chosen[n]}
		byFD := make(map[int]*Held)
		for _, h := range members {
			g.FDs = append(g.FDs, h.FD)
			if h.deaf {
				g.Deaf = append(g.Deaf, h.FD)
			}
			byFD[h.FD] = h
		}
		var fds []int
		if fds, err = g.Order(); err == nil {
			for _, fd := range fds {
				order = append(order, byFD[fd])
			}
			return g, order, nil
		}
		time.Sleep(time.Millisecond)
	}
	return g, nil, err
}

// chooses is the indices of those that are not shunned.
func (t *Tracer) chooses(order []*Held) (indices []int) {
	for index, h := range order {
		if h == nil || t.shunned[h.Inode] == nil {
			indices = append(indices, index)
		}
	}
	return indices
}

// steer makes the sockets of a group that are not shunned get what comes in
// from now on. Those that join it later get nothing.
func (t *Tracer) steer(n Name) error {
	g, order, err := t.order(n)
	if err != nil {
		return err
	}
	return t.choose(n, g, t.chooses(order))
}

func (t *Tracer) choose(n Name, g reuseport.Group, indices []int) error {
	if err := g.Choose(indices); err != nil {
		return err
	}
	t.chosen[n] = indices
	return nil
}

// groupSize is how many sockets listen on the name. One that left may be open
// in another process still.
func groupSize(n Name) (size int, err error) {
	var sockets []fdtable.Socket
	if n.Datagram() {
		sockets, err = fdtable.DumpUDP(fdtable.Datagrams, n.Address.Port())
	} else {
		sockets, err = fdtable.Dump(fdtable.Listening, n.Address.Port())
	}
	for _, s := range sockets {
		if int(s.Family) == n.Family && s.Local == n.Address && s.Device != reuseport.Nowhere {
			size++
		}
	}
	return size, err
}

// releaseGroup leaves the choice in a group to the kernel again, if nothing of
// it is shunned any more.
func (t *Tracer) releaseGroup(n Name) {
	members := t.group(n)
	if slices.ContainsFunc(members, func(h *Held) bool { return t.shunned[h.Inode] != nil }) {
		t.steer(n) // with one fewer
		return
	}
	if len(members) > 0 {
		reuseport.Release(members[0].FD)
	}
	delete(t.chosen, n)
}

// Share lets the sockets with which g joined groups have their share.
func (t *Tracer) Share(g *Generation) { t.Do(func() { t.share(g) }) }

func (t *Tracer) share(g *Generation) {
	joined := g.joined
	g.joined = nil
	for _, h := range joined {
		if len(g.procs) == 0 { // it has gone: all of them must go before any gets its share
			t.partOne(h)
			continue
		}
		delete(t.shunned, h.Inode)
		h.close()
	}
	for _, h := range joined {
		t.releaseGroup(h.Name)
	}
}

// migrates reports whether the administrator let the kernel hand what waits in
// a listener's queue on when that is closed (net.ipv4.tcp_migrate_req, Linux
// 5.14; it is for IPv6, too).
func (n Name) migrates() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_migrate_req")
	return !n.Datagram() && err == nil && len(b) > 0 && b[0] == '1'
}

// knownFD is hupt's descriptor of a socket of the group that is not shunned.
func (t *Tracer) knownFD(order []*Held) int {
	for _, h := range order {
		if h != nil && t.shunned[h.Inode] == nil {
			return h.FD
		}
	}
	return -1
}
