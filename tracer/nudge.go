package tracer

import (
	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// nudge makes g look at the queues of the sockets that it adopted.
//
// A connection wakes one only of the epoll sets that wait with EPOLLEXCLUSIVE,
// as nginx's do. If that was one of the old generation's, which was quiesced
// before it called accept(), nobody else is told until the next connection
// comes. Taking a registration out and putting it in again makes the kernel
// look at the queue (ep_insert), so one set of the new generation is told. Once
// is enough: from the quiesce on, there is no old set to wake.
func (t *Tracer) nudge(g *Generation) {
	done := make(map[uint64]bool)
	for _, o := range g.offers {
		done[o.held.Inode] = !o.taken
	}
	for _, p := range g.procs {
		table, err := fdtable.Read(p.pid, func(inode uint64) bool {
			over, offered := done[inode]
			return offered && !over
		})
		if err != nil || len(table.Sockets) == 0 {
			continue
		}
		plan := exclusive(table, done)
		if len(plan) == 0 {
			continue
		}
		if t.inject(p, func(i *injection) error { return i.carryOut(plan, nil) }) == nil {
			for _, c := range plan {
				done[c.Inode] = true
			}
		}
	}
}

// exclusive is the calls that renew one exclusive registration of each socket
// that is not done yet.
func exclusive(t fdtable.Table, done map[uint64]bool) (plan []fdtable.Call) {
	fds := make(map[int]uint64)
	for _, s := range t.Sockets {
		fds[s.Num] = s.Inode
	}
	seen := make(map[uint64]bool)
	for _, e := range t.Epolls {
		for _, r := range e.Entries {
			if over, offered := done[r.Inode]; r.Events&unix.EPOLLEXCLUSIVE == 0 || !offered || over || seen[r.Inode] || fds[r.TargetFD] != r.Inode {
				continue
			}
			seen[r.Inode] = true
			c := fdtable.Call{Op: fdtable.EpollDel, FD: r.TargetFD, Inode: r.Inode, Epoll: e.FD, Events: r.Events, Data: r.Data}
			plan = append(plan, c)
			c.Op = fdtable.EpollAdd
			plan = append(plan, c)
		}
	}
	return plan
}
