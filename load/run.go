package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Run is a load that goes on.
type Run struct {
	o       Options
	start   time.Time
	rec     *recorder
	clients []*client
	tickets chan int64 // of an open loop: requests that are due
	next    atomic.Int64
	phase   atomic.Pointer[string]

	quitOnce sync.Once
	quit     chan struct{} // closed when nothing more falls due
	quitAt   time.Time     // when that was; once quit is closed
	overdue  chan struct{} // closed when what was due by then is given up
	patience *time.Timer   // that closes it
	done     chan struct{} // closed when the last client has ended
	aborted  atomic.Bool
	elapsed  time.Duration // once done
}

// Start begins a load. It goes on until one of its bounds, Stop, or the end of
// ctx, which breaks off what is in flight; those requests are not counted.
func Start(ctx context.Context, o Options) (*Run, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Run{o: o, rec: newRecorder(o.KeepFailures),
		quit: make(chan struct{}), overdue: make(chan struct{}), done: make(chan struct{})}
	r.SetPhase("")
	d := newDialer(o)
	for range o.Clients {
		r.clients = append(r.clients, newClient(&r.o, d, r.quit))
	}
	r.start = time.Now()
	if o.Rate > 0 {
		// As much as falls due while a server stands still for seconds: the
		// pacer waits when it is full, but the due times stand.
		r.tickets = make(chan int64, 1<<16)
		go r.pace()
	}
	var wg sync.WaitGroup
	for _, c := range r.clients {
		wg.Go(func() { r.work(c) })
	}
	var end *time.Timer
	if o.Duration > 0 {
		end = time.AfterFunc(o.Duration, r.endSending)
	}
	cancel := context.AfterFunc(ctx, r.abort)
	go func() {
		wg.Wait()
		cancel()
		if end != nil {
			end.Stop()
		}
		r.endSending()
		if r.patience != nil {
			r.patience.Stop() // it would keep all of this in memory
		}
		r.drainTickets()
		r.elapsed = time.Since(r.start)
		close(r.done)
	}()
	return r, nil
}

// SetPhase names what happens from here on, "" for nothing. A request belongs
// to the phase in which it ended, or else to that in which it was sent.
func (r *Run) SetPhase(name string) { r.phase.Store(&name) }

// Began returns when the run started: times in its result count from there.
func (r *Run) Began() time.Time { return r.start }

// Snapshot returns the result so far.
func (r *Run) Snapshot() Result { return r.rec.result(time.Since(r.start)) }

// Wait returns the result when a bound or the context has ended the run.
func (r *Run) Wait() Result {
	<-r.done
	return r.rec.result(r.elapsed)
}

// Stop lets nothing more fall due, waits until what was due is answered and
// returns the result.
func (r *Run) Stop() Result {
	r.endSending()
	return r.Wait()
}

// endSending ends the run. Of an open loop what was due by now is still sent,
// but not for ever to a server that hangs.
func (r *Run) endSending() {
	r.quitOnce.Do(func() {
		r.quitAt = time.Now()
		close(r.quit)
		if r.tickets == nil || r.aborted.Load() {
			close(r.overdue)
			return
		}
		r.patience = time.AfterFunc(r.o.Timeout, func() { close(r.overdue) })
	})
}

func (r *Run) abort() {
	r.aborted.Store(true)
	r.endSending()
	for _, c := range r.clients {
		c.abort()
	}
}

// work asks with one client until the run ends.
func (r *Run) work(c *client) {
	defer c.close()
	defer func() { r.rec.addReconnects(c.reconnects) }()
	for {
		due, ok := r.claim()
		if !ok {
			return
		}
		r.one(c, due)
		if r.o.Kind == LongLived && !r.pause(r.o.Hold) {
			return
		}
	}
}

// claim returns when the next request is due; ok is false when there is none.
func (r *Run) claim() (due time.Time, ok bool) {
	if r.tickets == nil {
		select {
		case <-r.quit:
			return due, false
		default:
		}
		if n := r.next.Add(1); r.o.Requests > 0 && n > r.o.Requests {
			return due, false
		}
		return time.Now(), true
	}
	select {
	case i, open := <-r.tickets:
		return r.due(i), open
	case <-r.overdue:
		return due, false
	}
}

// one asks once and records what came of it.
func (r *Run) one(c *client, due time.Time) {
	before := *r.phase.Load()
	late := time.Since(due)
	status, body, err := c.ask()
	if err == nil {
		err = r.judge(status, body)
	}
	now := time.Now()
	if err != nil && r.aborted.Load() {
		return
	}
	s := Sample{Due: due.Sub(r.start), Latency: now.Sub(due), Kind: r.o.Kind, Phase: *r.phase.Load()}
	if s.Phase == "" {
		s.Phase = before
	}
	var f *Failure
	if err != nil {
		s.Class = err.class
		f = &Failure{Time: now, At: now.Sub(r.start), Kind: r.o.Kind.String(), Class: err.class,
			Step: err.step, Phase: s.Phase, Text: err.err.Error()}
	} else if r.o.Tag != nil {
		s.Tag = r.o.Tag(body)
	}
	r.rec.record(s, late, f)
	if r.o.Observe != nil {
		r.o.Observe(s)
	}
	if err != nil && r.tickets == nil {
		r.pause(time.Millisecond) // a refused connect costs nothing: don't spin on it
	}
}

// pause waits, and says whether the run goes on.
func (r *Run) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.quit:
		return false
	}
}

// Kind returns the manner of the run's clients.
func (r *Run) Kind() Kind { return r.o.Kind }
