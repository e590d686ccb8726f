package smoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"hupt/supervisor"
)

// restarts makes all restarts, or those that fit while the user's tests run.
func (c *course) restarts(ctx context.Context) error {
	var tests <-chan UserTests
	if c.o.UserTests != "" {
		tests = c.startUserTests(ctx)
	}
	for n := 1; tests != nil || n <= c.o.Restarts; n++ {
		if tests == nil && c.o.atMost > 0 && time.Since(c.loadBegan) > c.o.atMost {
			break
		}
		next := time.Now().Add(c.o.Every)
		if c.o.Restarts > 0 {
			if err := c.restart(ctx, n); err != nil {
				return err
			}
			if !c.restartAt(n-1).OK && tests == nil {
				return nil // what failed once takes its whole time-out each time
			}
		}
		select {
		case t := <-tests:
			t.Restarts = n - 1
			c.mu.Lock()
			c.m.UserTests = &t
			c.m.Asked = max(c.o.Restarts, len(c.m.Restarts))
			c.mu.Unlock()
			tests = nil
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// restart makes one restart and returns when it is decided. The old
// generation's end is followed in the background.
func (c *course) restart(ctx context.Context, number int) error {
	r := Restart{Number: number, At: c.at()}
	if c.v != nil && c.v.second != "" {
		r.Expected = c.v.first
		if r.Upgraded = number%2 == 1; r.Upgraded {
			r.Expected = c.v.second
		}
		if err := c.v.point(r.Expected); err != nil {
			return err
		}
	}
	c.doing(fmt.Sprintf("restart %d of %d", number, max(c.o.Restarts, number)))
	c.remember(ctx)
	c.mu.Lock()
	old := c.current
	c.m.Restarts = append(c.m.Restarts, r)
	f := &follower{c: c, i: len(c.m.Restarts) - 1, number: number, old: old, decided: make(chan bool, 1)}
	c.mu.Unlock()
	stream, began, err := c.beginRestart(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f.update(func(r *Restart) { r.Reason = err.Error() })
		c.happened(fmt.Sprintf("restart %d failed: %v", number, err))
		return nil
	}
	f.began = began
	f.update(func(r *Restart) { r.At = began.Sub(c.began) })
	f.span = c.beginSpan(number, "starting", began)
	c.watchers.Go(func() { f.follow(stream) })
	select {
	case ok := <-f.decided:
		if ok {
			c.seeWhoServes(ctx, f)
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(c.o.ReadyTimeout + 10*time.Second):
		f.update(func(r *Restart) { r.Reason = "hupt did not decide in time" })
	}
	return nil
}

// beginRestart asks hupt for a restart, and tells when that began. The one
// before may not be over although it serves: hupt watches a new version for a
// moment, which is no part of the next restart.
func (c *course) beginRestart(ctx context.Context) (eventStream, time.Time, error) {
	options := supervisor.RestartOptions{ReadyTimeout: c.o.ReadyTimeout}
	for end := time.Now().Add(10 * time.Second); ; {
		one := *c.server.inst
		began := time.Now()
		// Not ctx: the stream tells of the old generation's end to the last.
		stream, err := one.Restart(context.WithoutCancel(ctx), options)
		if !errors.Is(err, supervisor.ErrBusy) || time.Now().After(end) {
			return stream, began, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, began, err
		}
	}
}

// eventStream tells the events of a restart; it is a *control.Stream.
type eventStream interface {
	Next() (supervisor.Event, error)
	Close()
}

// follower turns the events of one restart into measurements.
type follower struct {
	c       *course
	i       int // of c.m.Restarts
	number  int
	old     int // the generation that served before
	next    int
	pid     int // of next
	span    int
	began   time.Time
	decided chan bool
	told    bool
}

func (f *follower) update(change func(r *Restart)) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	change(&f.c.m.Restarts[f.i])
}

func (f *follower) decide(ok bool) {
	if !f.told {
		f.told = true
		f.decided <- ok
	}
}

func (f *follower) follow(stream eventStream) {
	defer stream.Close()
	defer f.decide(false)
	defer func() { f.c.endSpan(f.span) }()
	for {
		e, err := stream.Next()
		if err != nil {
			if err != io.EOF {
				f.update(func(r *Restart) {
					if r.Reason == "" && r.Serving == 0 {
						r.Reason = err.Error()
					}
				})
			}
			return
		}
		f.event(e)
	}
}

// event takes one event. Those of other generations than this restart's two
// belong to another restart, whose follower sees them too.
func (f *follower) event(e supervisor.Event) {
	since := time.Since(f.began)
	switch {
	case e.Kind == supervisor.EventStarting && f.next == 0 && e.Generation > f.old:
		f.next, f.pid = e.Generation, e.PID
		f.update(func(r *Restart) { r.Generation, r.PID = e.Generation, e.PID })
	case e.Kind == supervisor.EventFailed && (e.Generation == f.next || e.Generation == 0):
		f.update(func(r *Restart) { r.OK, r.Reason = false, e.Reason })
		f.c.happened(fmt.Sprintf("restart %d failed: %s", f.number, printable(e.Reason)))
		f.c.endSpan(f.span)
		f.decide(false)
	case e.Kind == supervisor.EventReady && e.Generation == f.next:
		f.update(func(r *Restart) { r.Ready = since })
	case e.Kind == supervisor.EventServing && e.Generation == f.next:
		f.update(func(r *Restart) { r.Serving, r.OK = since, true })
		f.c.serves(f.next, f.pid)
		f.c.endSpan(f.span)
		f.span = f.c.beginSpan(f.number, "draining", time.Now())
		f.c.happened(fmt.Sprintf("restart %d: generation %d serves after %s", f.number, f.next, short(since)))
		f.decide(true)
	case e.Generation == f.old:
		f.oldEvent(e, since)
	}
}

func (f *follower) oldEvent(e supervisor.Event, since time.Duration) {
	switch e.Kind {
	case supervisor.EventHammer:
		f.update(func(r *Restart) { r.Hammered = true })
	case supervisor.EventStopping:
		f.c.endSpan(f.span)
		f.c.generation(f.old, func(g *Generation) { g.StopSent = f.c.at() })
		f.c.watchers.Go(func() { f.c.seeWhoOutlives(f.old) })
	case supervisor.EventKilled:
		f.c.generation(f.old, func(g *Generation) { g.Killed = true })
	case supervisor.EventResumed:
		f.c.serves(f.old, 0)
	case supervisor.EventGone:
		f.update(func(r *Restart) { r.Gone, r.Cut = since, e.Cut })
		f.c.generation(f.old, func(g *Generation) { g.Gone = f.c.at() })
		f.c.endSpan(f.span)
	}
}

// serves notes which generation serves from here on.
func (c *course) serves(number, pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = number
	if !slices.ContainsFunc(c.m.Generations, func(g Generation) bool { return g.Number == number }) {
		c.m.Generations = append(c.m.Generations, Generation{Number: number, PID: pid, From: c.at()})
	}
}

// generation changes what is known of one.
func (c *course) generation(number int, change func(g *Generation)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.m.Generations {
		if c.m.Generations[i].Number == number {
			change(&c.m.Generations[i])
		}
	}
}
