package tracer

import (
	"cmp"
	"slices"
)

// byPlace puts the offers of datagram sockets of one group in the order of their
// places there, so that a generation with fewer sockets than the one before
// adopts the first of them. All that is closed is behind these, then: none of
// them is ever the last of the group, which the kernel moves to another place
// when one is closed, and which gets nothing in that instant (see partEach).
//
// The order of their inodes does not tell: threads that open a socket each may
// bind them in another order. Where the places can't be found out, it stays.
func (t *Tracer) byPlace(g *Generation) {
	groups := make(map[Name][]int) // indices of the offers
	for n, o := range g.offers {
		if h := o.held; h.FD >= 0 && h.Name.udp() && shares(h.FD) {
			groups[h.Name] = append(groups[h.Name], n)
		}
	}
	for name, at := range groups {
		if len(at) < 2 {
			continue
		}
		_, order, err := t.order(name)
		if err != nil {
			continue
		}
		place := func(o *offer) int {
			return slices.IndexFunc(order, func(h *Held) bool { return h != nil && h.Inode == o.held.Inode })
		}
		var sorted []*offer
		for _, n := range at {
			sorted = append(sorted, g.offers[n])
		}
		slices.SortStableFunc(sorted, func(a, b *offer) int { return cmp.Compare(place(a), place(b)) })
		for i, n := range at {
			g.offers[n] = sorted[i]
		}
	}
}
