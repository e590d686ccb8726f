package supervisor

import "sync"

// hub hands events to whoever listens, without ever waiting for them.
type hub struct {
	mu   sync.Mutex
	subs map[*subscriber]bool
}

// subscriber has a queue of its own without a bound: an instance tells some
// dozens of events a restart.
type subscriber struct {
	mu     sync.Mutex
	queue  []Event
	wake   chan struct{}
	closed bool
}

func (h *hub) subscribe() *subscriber {
	s := &subscriber{wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = make(map[*subscriber]bool)
	}
	h.subs[s] = true
	return s
}

func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.put(e, false)
	}
}

// end closes s after what it was told.
func (h *hub) end(s *subscriber) {
	h.mu.Lock()
	delete(h.subs, s)
	h.mu.Unlock()
	s.put(Event{}, true)
}

func (h *hub) endAll() {
	h.mu.Lock()
	subs := h.subs
	h.subs = nil
	h.mu.Unlock()
	for s := range subs {
		s.put(Event{}, true)
	}
}

func (s *subscriber) put(e Event, last bool) {
	s.mu.Lock()
	if last {
		s.closed = true
	} else if !s.closed {
		s.queue = append(s.queue, e)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take waits for events; none means the end.
func (s *subscriber) take() []Event {
	for {
		s.mu.Lock()
		q, closed := s.queue, s.closed
		s.queue = nil
		s.mu.Unlock()
		if len(q) > 0 || closed {
			return q
		}
		<-s.wake
	}
}

// channel delivers what s is told until its end, or until quit is closed.
func (s *subscriber) channel(quit <-chan struct{}) <-chan Event {
	out := make(chan Event)
	go func() {
		defer close(out)
		for {
			q := s.take()
			if len(q) == 0 {
				return
			}
			for _, e := range q {
				select {
				case out <- e:
				case <-quit:
					return
				}
			}
		}
	}()
	return out
}
