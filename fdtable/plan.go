package fdtable

import "sort"

// Op is a system call that swapping a file needs.
type Op int

// The calls of a plan.
const (
	EpollDel Op = iota // epoll_ctl(Call.Epoll, EPOLL_CTL_DEL, Call.FD)
	Dup                // dup3(the replacement of Call.Inode, Call.FD, O_CLOEXEC if CloseOnExec)
	EpollAdd           // epoll_ctl(Call.Epoll, EPOLL_CTL_ADD, Call.FD, {Events, Data})
)

// Call is one step of a plan.
type Call struct {
	Op          Op
	FD          int
	Inode       uint64 // that FD is before the plan
	CloseOnExec bool   // of a Dup
	Epoll       int
	Events      uint32
	Data        uint64
}

// Plan swaps every descriptor of t whose inode is in swap for its
// replacement, registrations included. It serves quiesce (listener → dummy)
// and resume (dummy → listener) alike.
//
// The order matters. A dup3 over a registered descriptor leaves its
// registration behind, keyed by a file that the descriptor no longer names:
// it fires for ever and can't be removed. So registrations go first and come
// back, with the same events and data, so that a later EPOLL_CTL_DEL or MOD by
// the program works.
func Plan(t Table, swap map[uint64]bool) []Call {
	var del, dup, add []Call
	now := make(map[int]uint64)
	sockets := append([]FD(nil), t.Sockets...)
	sort.Slice(sockets, func(i, j int) bool { return sockets[i].Num < sockets[j].Num })
	for _, s := range sockets {
		if !swap[s.Inode] {
			continue
		}
		now[s.Num] = s.Inode
		dup = append(dup, Call{Op: Dup, FD: s.Num, Inode: s.Inode, CloseOnExec: s.CloseOnExec})
	}
	for _, e := range t.Epolls {
		for _, r := range e.Entries {
			// A registration whose descriptor was closed or names another file
			// by now can't be removed by that number: leave it.
			if !swap[r.Inode] || now[r.TargetFD] != r.Inode {
				continue
			}
			c := Call{FD: r.TargetFD, Inode: r.Inode, Epoll: e.FD, Events: r.Events, Data: r.Data}
			c.Op = EpollDel
			del = append(del, c)
			c.Op = EpollAdd
			add = append(add, c)
		}
	}
	return append(append(del, dup...), add...)
}
