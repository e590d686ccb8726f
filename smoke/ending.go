package smoke

import (
	"context"
	"fmt"
	"io"
	"time"

	"hupt/supervisor"
)

// badStart has a version started that must fail, sees that the old one serves
// on, and that a good restart right after succeeds.
func (c *course) badStart(ctx context.Context) error {
	c.doing("starting a version that must fail")
	if err := c.v.point(c.v.bad); err != nil {
		return err
	}
	c.mu.Lock()
	b := &BadStart{At: c.at()}
	c.m.BadStart = b
	before := c.failures
	c.mu.Unlock()
	stream, began, err := c.beginRestart(ctx)
	b.At = began.Sub(c.began)
	span := c.beginSpan(0, "bad start", began)
	if err != nil {
		b.RolledBack, b.Reason = ctx.Err() == nil, err.Error()
	} else {
		b.RolledBack, b.Reason = outcomeOf(stream, c.o.ReadyTimeout+5*time.Second)
		stream.Close()
	}
	b.Took = time.Since(began)
	c.endSpan(span)
	c.mu.Lock()
	b.Failures = c.failures - before
	c.mu.Unlock()
	c.happened(fmt.Sprintf("bad start: rolled back after %s: %s", short(b.Took), printable(b.Reason)))
	if err := c.v.point(c.v.first); err != nil {
		return err
	}
	if !b.RolledBack {
		return nil
	}
	number := len(c.m.Restarts) + 1
	c.mu.Lock()
	c.m.Asked++
	c.mu.Unlock()
	if err := c.restart(ctx, number); err != nil {
		return err
	}
	r := c.restartAt(number - 1)
	b.Recovered, b.After = r.OK, r.Reason
	return nil
}

// outcomeOf says whether a restart failed, and why or why not.
func outcomeOf(stream eventStream, within time.Duration) (failed bool, reason string) {
	late := time.AfterFunc(within, stream.Close)
	defer late.Stop()
	for {
		e, err := stream.Next()
		switch {
		case err == io.EOF:
			return false, "hupt told neither success nor failure"
		case err != nil:
			return false, err.Error()
		case e.Kind == supervisor.EventFailed:
			return true, e.Reason
		case e.Kind == supervisor.EventServing:
			return false, fmt.Sprintf("generation %d serves", e.Generation)
		}
	}
}

// awaitQuiet waits, with no client left, until the old generations have gone
// and the last one has no connection, and reads what it then has.
func (c *course) awaitQuiet(ctx context.Context) error {
	// Followers end with the old generation, which hupt ends in its time.
	gone := make(chan struct{})
	go func() { c.watchers.Wait(); close(gone) }()
	drain := c.o.DrainTimeout
	if drain < 0 {
		drain = 5 * time.Second
	}
	select {
	case <-gone:
	case <-time.After(drain + c.o.StopTimeout + 2*time.Second):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.doing("waiting for the last connections to go")
	for end := time.Now().Add(2 * time.Second); ; {
		st, err := c.server.status(ctx)
		if err != nil {
			return err
		}
		g, ok := serving(st)
		c.m.ConnectionsLeft = g.Connections
		if ok && g.Connections == 0 || time.Now().After(end) {
			break
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	c.m.IdleLast = c.resources(ctx)
	c.m.Complete = true
	return nil
}

// stop ends the server as an init would, and sees how.
func (c *course) stop(ctx context.Context) error {
	c.doing("stopping the server")
	c.remember(ctx)
	stream, err := c.server.inst.Stop(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer stream.Close()
	began := time.Now()
	c.watchers.Go(func() { c.seeWhoOutlives(c.serving()) })
	c.m.Stop.Sent = true
	killed := make(chan bool, 1)
	go func() {
		any := false
		for {
			e, err := stream.Next()
			if err != nil {
				killed <- any
				return
			}
			any = any || e.Kind == supervisor.EventKilled
		}
	}()
	select {
	case <-c.server.gone:
		c.m.Stop.After, c.m.Stop.ExitCode = time.Since(began), c.server.code
	case <-time.After(c.o.StopTimeout + 5*time.Second):
		c.m.Stop.After, c.m.Stop.TimedOut = time.Since(began), true
	}
	select {
	case c.m.Stop.Killed = <-killed:
	case <-time.After(time.Second):
	}
	return nil
}

func (c *course) serving() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// close ends whatever is left and waits for all that follows it.
func (c *course) close() {
	left := c.server.end(c.o.StopTimeout + 2*time.Second)
	c.watchers.Wait()
	c.m.Left = left
}
