package machine

import (
	"sync"
	"time"
)

// Watch tells how slow the machine is while something is judged: it may have
// become so in the middle of it. It costs a thousandth of a processor or two.
type Watch struct {
	stop  chan struct{}
	done  chan struct{}
	mu    sync.Mutex
	worst time.Duration
}

// moment is how often a Watch looks.
const moment = 25 * time.Millisecond

// usualLate is how late the latest request is on a machine with a factor of 1,
// which the clients of a test and of the seven others beside it keep busy.
const usualLate = 50 * time.Millisecond

// Begin begins to watch.
func Begin() *Watch {
	w := &Watch{stop: make(chan struct{}), done: make(chan struct{})}
	go w.watch()
	return w
}

// watch makes a request now and then. A request is late by what a machine
// stands still, by what others take of it, and by what the test's own clients
// take, as those that are judged are.
func (w *Watch) watch() {
	defer close(w.done)
	one, end := request()
	defer end()
	for stopped := false; !stopped; {
		began := time.Now()
		select {
		case <-w.stop:
			stopped = true // how late it was by then counts, too
		case <-time.After(moment):
			one()
		}
		late := time.Since(began) - moment
		w.mu.Lock()
		w.worst = max(w.worst, late)
		w.mu.Unlock()
	}
}

// End ends the watch, and returns the longest time by which something that
// takes next to none was late, and how many times slower than usual that is, 1
// at least; or than it was when it began, if that is more.
func (w *Watch) End() (worst time.Duration, factor float64) {
	close(w.stop)
	<-w.done
	return w.worst, max(1, min(mostFactor, float64(w.worst)/float64(usualLate)), atStart())
}
