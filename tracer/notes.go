package tracer

import (
	"sync"

	"hupt/stage2"
)

// notes is a queue without a bound: the tracer must never wait for the
// supervisor, which waits for it in Do.
type notes struct {
	mu    sync.Mutex
	queue []Note
	wake  chan struct{}
}

func newNotes() *notes { return &notes{wake: make(chan struct{}, 1)} }

func (q *notes) put(n Note) {
	q.mu.Lock()
	q.queue = append(q.queue, n)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Wake is sent to after notes were queued.
func (q *notes) Wake() <-chan struct{} { return q.wake }

// Notes takes what was queued, oldest first.
func (q *notes) Notes() []Note {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.queue
	q.queue = nil
	return taken
}

// tell queues a note for whoever launched the generation.
func (t *Tracer) tell(n Note) { n.Generation.notes.put(n) }

// Branch is a Tracer that tells only of the generations that it launched
// itself. Several of them share the one thread.
type Branch struct {
	*Tracer
	*notes
}

// Branch makes one.
func (t *Tracer) Branch() *Branch { return &Branch{t, newNotes()} }

// Launch is Tracer.Launch.
func (b *Branch) Launch(number int, spec stage2.Spec, held []*Held) (*Generation, error) {
	return b.launch(number, spec, held, b.notes)
}

// Notes takes what was queued, oldest first.
func (b *Branch) Notes() []Note { return b.notes.Notes() }

// Wake is sent to after notes were queued.
func (b *Branch) Wake() <-chan struct{} { return b.notes.Wake() }
