package tracer

import (
	"os"
	"testing"
)

// TestRoom: what is held of another user already counts at the next look, too, and
// the program's own user has no such bound.
func TestRoom(t *testing.T) {
	own := uint32(os.Geteuid())
	other := own + 4242
	g := &Generation{Root: os.Getpid(), full: true} // it was told
	var have []*Held
	for n := range 2 * mostOfOther {
		have = append(have, &Held{FD: n, owner: own})
	}
	for n := range mostOfOther - 1 {
		have = append(have, &Held{FD: n, owner: other})
	}
	r := (&Tracer{}).roomOf(g, append(have, &Held{FD: -1, owner: other}))
	for n, c := range []struct {
		owner uint32
		takes bool
	}{{own, true}, {other, true}, {other, false}, {own, true}, {other + 1, true}} {
		h := &Held{owner: c.owner}
		if got := r.take(h); got != c.takes || h.other != (c.owner != own) {
			t.Errorf("%d: one of user %d is taken: %v; another user's: %v", n, c.owner, got, h.other)
		}
	}
	r.left = 0
	if r.take(&Held{owner: own}) {
		t.Error("one is taken, and no descriptor is left")
	}
}
