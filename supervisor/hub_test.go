package supervisor

import (
	"sync"
	"testing"
	"time"

	"hupt/internal/machine"
)

// TestSlowReadersNeverBlock: whoever publishes does not wait for them, and
// they miss nothing.
func TestSlowReadersNeverBlock(t *testing.T) {
	var h hub
	const events = 20000
	slow, dead := h.subscribe(), h.subscribe()
	quit := make(chan struct{})
	stuck := dead.channel(quit) // its goroutine waits for a reader
	began := time.Now()
	for n := range events {
		h.publish(Event{Generation: n})
	}
	h.end(slow)
	if waited := time.Since(began); waited > machine.Patience(5*time.Second) {
		t.Errorf("waited %v", waited)
	}
	n := 0
	for q := slow.take(); len(q) > 0; q = slow.take() {
		for _, e := range q {
			if e.Generation != n {
				t.Fatalf("event %d came as number %d", e.Generation, n)
			}
			n++
		}
	}
	if n != events {
		t.Errorf("%d of %d events", n, events)
	}
	h.publish(Event{}) // after its end
	if q := slow.take(); len(q) != 0 {
		t.Errorf("told %d events after the end", len(q))
	}
	close(quit)
	for range stuck { // closes, though it was not read to its end
	}
}

func TestHubFromManySides(t *testing.T) {
	var h hub
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				s := h.subscribe()
				h.publish(Event{Kind: EventReady})
				if q := s.take(); len(q) == 0 {
					t.Error("its own event is missing")
				}
				h.end(s)
				h.end(s)
			}
		})
	}
	wg.Wait()
	if len(h.subs) != 0 {
		t.Errorf("%d subscribers are left", len(h.subs))
	}
	s := h.subscribe()
	h.publish(Event{})
	h.endAll()
	if q := s.take(); len(q) != 1 {
		t.Errorf("%d events before the end", len(q))
	}
	if q := s.take(); len(q) != 0 {
		t.Errorf("%d events after the end", len(q))
	}
}

// TestCancel: a follower that left is told no more, and may leave twice.
func TestCancel(t *testing.T) {
	r := start(t)
	events, cancel, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	cancel()
	for range events {
	}
	r.serve(2)
	r.await(EventServing) // the restart goes on
}
