package fdtable

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlan(t *testing.T) {
	for name, c := range map[string]struct {
		table Table
		swap  []uint64
		want  []Call
	}{
		"nothing to swap": {
			Table{Sockets: []FD{{Num: 3, Inode: 30}}, Epolls: []Epoll{{4, []Registration{{3, 1, 3, 30}}}}}, []uint64{31}, nil,
		},
		"no epoll set": {
			Table{Sockets: []FD{{Num: 3, Inode: 30, CloseOnExec: true}}}, []uint64{30},
			[]Call{{Op: Dup, FD: 3, Inode: 30, CloseOnExec: true}},
		},
		"registrations go first and come back last": {
			Table{
				Sockets: []FD{{Num: 6, Inode: 60}, {Num: 3, Inode: 30}, {Num: 5, Inode: 50}},
				Epolls:  []Epoll{{7, []Registration{{3, 1, 99, 30}, {5, 1, 5, 50}}}, {8, []Registration{{6, 2, 6, 60}}}},
			},
			[]uint64{30, 60},
			[]Call{
				{Op: EpollDel, FD: 3, Inode: 30, Epoll: 7, Events: 1, Data: 99},
				{Op: EpollDel, FD: 6, Inode: 60, Epoll: 8, Events: 2, Data: 6},
				{Op: Dup, FD: 3, Inode: 30},
				{Op: Dup, FD: 6, Inode: 60},
				{Op: EpollAdd, FD: 3, Inode: 30, Epoll: 7, Events: 1, Data: 99},
				{Op: EpollAdd, FD: 6, Inode: 60, Epoll: 8, Events: 2, Data: 6},
			},
		},
		"one socket, two descriptors, both registered in two sets": {
			Table{
				Sockets: []FD{{Num: 3, Inode: 30}, {Num: 4, Inode: 30, CloseOnExec: true}},
				Epolls:  []Epoll{{7, []Registration{{3, 1, 3, 30}, {4, 1, 4, 30}}}, {8, []Registration{{3, 1, 33, 30}}}},
			},
			[]uint64{30},
			[]Call{
				{Op: EpollDel, FD: 3, Inode: 30, Epoll: 7, Events: 1, Data: 3},
				{Op: EpollDel, FD: 4, Inode: 30, Epoll: 7, Events: 1, Data: 4},
				{Op: EpollDel, FD: 3, Inode: 30, Epoll: 8, Events: 1, Data: 33},
				{Op: Dup, FD: 3, Inode: 30},
				{Op: Dup, FD: 4, Inode: 30, CloseOnExec: true},
				{Op: EpollAdd, FD: 3, Inode: 30, Epoll: 7, Events: 1, Data: 3},
				{Op: EpollAdd, FD: 4, Inode: 30, Epoll: 7, Events: 1, Data: 4},
				{Op: EpollAdd, FD: 3, Inode: 30, Epoll: 8, Events: 1, Data: 33},
			},
		},
		"a registration whose descriptor is another file by now is left": {
			Table{
				Sockets: []FD{{Num: 3, Inode: 30}, {Num: 4, Inode: 40}},
				Epolls:  []Epoll{{7, []Registration{{5, 1, 5, 30}, {4, 1, 4, 30}, {3, 1, 3, 30}}}},
			},
			[]uint64{30},
			[]Call{
				{Op: EpollDel, FD: 3, Inode: 30, Epoll: 7, Events: 1, Data: 3},
				{Op: Dup, FD: 3, Inode: 30},
				{Op: EpollAdd, FD: 3, Inode: 30, Epoll: 7, Events: 1, Data: 3},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			swap := make(map[uint64]bool)
			for _, inode := range c.swap {
				swap[inode] = true
			}
			if diff := cmp.Diff(c.want, Plan(c.table, swap)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
