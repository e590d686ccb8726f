package control

import (
	"context"
	"errors"
	"io"
	"sync"

	"hupt/supervisor"
)

// maxQueue is how many events may wait for a client that does not read. A
// restart tells some ten and one for each held socket; drain counts are folded.
const maxQueue = 4096

var errTooSlow = errors.New("the client does not read")

// queue stands between an instance, which must never wait, and a client, which
// may never read.
type queue struct {
	mu     sync.Mutex
	events []supervisor.Event
	err    error // once there will be no more: io.EOF or errTooSlow
	wake   chan struct{}
}

// newQueue takes every event of the channel until it is closed.
func newQueue(events <-chan supervisor.Event) *queue {
	q := &queue{wake: make(chan struct{}, 1)}
	go func() {
		for e := range events {
			q.push(e)
		}
		q.end(io.EOF)
	}()
	return q
}

func (q *queue) push(e supervisor.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return
	}
	if last := len(q.events) - 1; last >= 0 && e.Kind == supervisor.EventDraining &&
		q.events[last].Kind == e.Kind && q.events[last].Process == e.Process && q.events[last].Generation == e.Generation {
		q.events[last] = e // of a count only the newest matters
	} else if len(q.events) == maxQueue {
		q.events, q.err = nil, errTooSlow
	} else {
		q.events = append(q.events, e)
	}
	q.signal()
}

func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// pop waits for the next event; io.EOF after the last.
func (q *queue) pop(ctx context.Context) (supervisor.Event, error) {
	for {
		q.mu.Lock()
		if len(q.events) > 0 {
			e := q.events[0]
			q.events = q.events[1:]
			q.mu.Unlock()
			return e, nil
		}
		err := q.err
		q.mu.Unlock()
		if err != nil {
			return supervisor.Event{}, err
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return supervisor.Event{}, ctx.Err()
		}
	}
}
