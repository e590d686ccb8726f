package tracer

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"hupt/reuseport"
)

// Surplus is those of the held sockets that next did not adopt although it has
// others of the same group. From now on nothing new comes to them, unless err
// says that this can't be had; then they go on getting their share.
func (t *Tracer) Surplus(next *Generation, held []*Held) (surplus []*Held, err error) {
	t.Do(func() {
		serves := make(map[Name]bool)
		mine := make(map[uint64]bool)
		for _, o := range next.offers {
			if o.taken {
				serves[o.held.Name], mine[o.held.Inode] = true, true
			}
		}
		names := make(map[Name]bool)
		for _, h := range held {
			if h.FD >= 0 && !mine[h.Inode] && serves[h.Name] && shares(h.FD) {
				surplus = append(surplus, h)
				h.surplus = true
				t.shunned[h.Inode] = h
				names[h.Name] = true
			}
		}
		for n := range names {
			if n.migrates() {
				continue // the kernel hands on what waits when they are closed
			}
			if e := t.steer(n); e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", n, e))
			}
		}
	})
	return surplus, err
}

// still is those of the surplus sockets that are: a late bind may have adopted
// one.
func (t *Tracer) still(surplus []*Held) (out []*Held) {
	for _, h := range surplus {
		if h.FD >= 0 && t.shunned[h.Inode] == h {
			out = append(out, h)
		}
	}
	return out
}

// wanted: a late bind adopted h, which was surplus.
func (t *Tracer) wanted(h *Held) {
	if t.shunned[h.Inode] == h {
		delete(t.shunned, h.Inode)
		t.releaseGroup(h.Name)
	}
}

// Waiting is how many of the surplus sockets have something in their queues.
func (t *Tracer) Waiting(surplus []*Held) (n int) {
	t.Do(func() {
		for _, h := range t.still(surplus) {
			if h.waits() {
				n++
			}
		}
	})
	return n
}

// waits reports whether something is in the socket's queue.
func (h *Held) waits() bool {
	p := []unix.PollFd{{Fd: int32(h.FD), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLIN != 0
}

// LeaveTo lets the generation that had them, and that is quiesced on them by
// now, accept on the surplus sockets again: something came after all. Whatever
// let it come is looked at anew.
func (t *Tracer) LeaveTo(g *Generation, surplus []*Held) {
	t.Do(func() {
		swap := make(map[uint64]int)
		names := make(map[Name]bool)
		for _, h := range t.still(surplus) {
			if d := g.dummies[h.Inode]; d != nil {
				swap[d.inode] = h.FD
			}
			names[h.Name] = true
		}
		if g.quiesced {
			t.swap(g, swap)
		}
		for n := range names {
			if t.chosen[n] != nil {
				t.steer(n)
			}
		}
	})
}

// Part closes surplus sockets on which nobody accepts any more. It returns
// those that it could not, which must be seen to be empty once more.
func (t *Tracer) Part(surplus []*Held) (left []*Held) {
	t.Do(func() {
		names := make(map[Name]bool)
		for _, h := range t.still(surplus) {
			names[h.Name] = true
		}
		for n := range names {
			t.partGroup(n, surplus)
		}
		left = t.still(surplus)
	})
	return left
}

// partGroup closes the surplus sockets of a group in whose queues nothing is.
func (t *Tracer) partGroup(n Name, surplus []*Held) {
	if t.chosen[n] == nil || n.migrates() {
		for _, h := range t.still(surplus) {
			if h.Name == n && (!h.waits() || n.migrates()) {
				t.partOne(h)
			}
		}
		t.releaseGroup(n)
		return
	}
	part := func(h *Held) bool { return t.shunned[h.Inode] == h && slices.Contains(surplus, h) }
	if t.partEach(n, part, (*Held).waits) == nil {
		t.releaseGroup(n)
	}
}

// errWaits: something is in the queue of a socket that was to be closed.
var errWaits = errors.New("something waits")

// errShared: there are as many sockets in a group after hupt closed one of them.
var errShared = errors.New("it is open in another process")

// partEach closes those of a group that part is true of, the last one first. The
// kernel moves the last one of the group into the place of one that is closed,
// so that one must not be among the chosen meanwhile: a place that is not there
// means any of them, and some hear nothing.
func (t *Tracer) partEach(n Name, part, waits func(h *Held) bool) error {
	g, order, err := t.order(n)
	if err != nil {
		return err
	}
	g.FDs = []int{t.knownFD(order)} // a chosen one, which stays
	for {
		last := len(order) - 1
		index := last
		for index >= 0 && (order[index] == nil || !part(order[index])) {
			index--
		}
		if index < 0 {
			return nil
		}
		h, chosen := order[index], t.chooses(order)
		if waits(h) {
			return errWaits
		}
		moves := index < last && len(chosen) > 0 && chosen[len(chosen)-1] == last
		if moves && len(chosen) > 1 {
			if err := t.choose(n, g, chosen[:len(chosen)-1]); err != nil {
				return err
			}
		}
		t.partOne(h)
		order[index] = order[last]
		order = order[:last]
		if moves && t.choose(n, g, t.chooses(order)) != nil {
			return nil
		}
		if size, err := groupSize(n); err != nil || size > last {
			// Some process has it still, and nothing moved; or one came meanwhile.
			if t.steer(n) != nil {
				t.choose(n, g, chosen)
			}
			return errShared
		}
		if moves && len(chosen) == 1 {
			return nil // in between, the kernel chose among all that are left
		}
	}
}

// partOne closes a socket of a group that nobody is to have any more.
func (t *Tracer) partOne(h *Held) {
	delete(t.shunned, h.Inode)
	if h.FD >= 0 && h.Name.udp() {
		_ = reuseport.Leave(h.FD) // where it can't, the close takes it out
	}
	h.close()
}

// dropSurplus closes those of the sockets that are surplus still. It reports
// how many of them had something in their queues, which is lost.
func (t *Tracer) dropSurplus(held []*Held) (lost int) {
	names := make(map[Name]bool)
	for _, h := range t.still(held) {
		if h.waits() && !h.Name.migrates() {
			lost++
		}
		names[h.Name] = true
		t.partOne(h)
	}
	for n := range names {
		t.releaseGroup(n)
	}
	return lost
}

// Rejoin lets surplus sockets have their share again: their generation goes on
// serving.
func (t *Tracer) Rejoin(surplus []*Held) {
	t.Do(func() {
		still := t.still(surplus)
		for _, h := range still {
			delete(t.shunned, h.Inode)
			h.surplus = false
		}
		for _, h := range still {
			t.releaseGroup(h.Name)
		}
	})
}
