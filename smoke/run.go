package smoke

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Run makes a whole run. The error is of the options or the machine; what is
// wrong with the server stands in the report. However it ends, nothing that
// it started is left.
func Run(ctx context.Context, o Options) (*Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hupt-smoke-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	command := o.Command
	var v *versions
	if o.Upgrade != "" || o.BadStart {
		if v, err = newVersions(dir, &o); err != nil {
			return nil, err
		}
		command = append([]string{v.link}, command[1:]...)
	}
	runtime := dir + "/run"
	if err := os.Mkdir(runtime, 0o700); err != nil {
		return nil, err
	}
	began := time.Now()
	s, err := launch(&o, command, runtime)
	if err != nil {
		return nil, err
	}
	c := newCourse(&o, s, v, began)
	outcome, reason := c.run(ctx)
	return c.report(outcome, reason), ctx.Err()
}

// run goes the whole course and ends the server.
func (c *course) run(ctx context.Context) (Outcome, string) {
	// The server's end ends everything that goes on.
	alive, died := context.WithCancelCause(ctx)
	defer died(nil)
	go func() {
		select {
		case <-c.server.gone:
			died(errEnded)
		case <-alive.Done():
		}
	}()
	stopTelling := c.tell()
	err := c.steps(alive)
	c.stopLoad()
	if err == nil {
		err = c.stop(ctx)
	}
	c.close()
	stopTelling()
	var never *neverReady
	switch {
	case errors.As(err, &never):
		return NeverReady, never.reason
	case errors.Is(context.Cause(alive), errEnded) && err != nil:
		return c.server.how()
	case ctx.Err() != nil:
		return Failed, "interrupted"
	case err != nil:
		return Failed, err.Error()
	}
	return Passed, "" // so far: the checks decide
}

// steps is the course while the server has to live.
func (c *course) steps(ctx context.Context) error {
	if err := c.awaitReady(ctx); err != nil {
		return err
	}
	c.m.Idle = c.resources(ctx)
	if err := c.startLoad(ctx); err != nil {
		return err
	}
	c.doing("load without restarts")
	if err := pause(ctx, max(time.Second, c.o.Duration/4)); err != nil {
		return err
	}
	if err := c.restarts(ctx); err != nil {
		return err
	}
	if c.o.BadStart && c.allGood() {
		if err := c.badStart(ctx); err != nil {
			return err
		}
	}
	c.doing("load after restarts")
	rest := max(c.o.Duration-time.Since(c.loadBegan), 500*time.Millisecond)
	if err := pause(ctx, rest); err != nil {
		return err
	}
	c.seeLateSockets(ctx)
	c.doing("waiting for the old processes to go")
	c.stopLoad()
	if err := c.awaitQuiet(ctx); err != nil {
		return err
	}
	return nil
}

// pause waits, unless the run ends meanwhile.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// neverReady is why the server could not be asked anything.
type neverReady struct{ reason string }

func (e *neverReady) Error() string { return "never ready: " + e.reason }

func neverf(format string, a ...any) error { return &neverReady{fmt.Sprintf(format, a...)} }

// report puts the measurements together and has them judged.
func (c *course) report(outcome Outcome, reason string) *Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish()
	c.m.Ended = outcome == Died || outcome == WrongUsage || outcome == Forbidden
	r := &Report{Command: c.o.Command, Began: c.began, Took: time.Since(c.began), Outcome: outcome,
		Reason: reason, Measured: c.m, Limits: c.o.Limits, Output: c.server.output.last(20)}
	r.Checks = Judge(&r.Measured, c.o.Limits)
	if r.Outcome == Died {
		r.Checks = append([]Check{{"alive", "the server stays alive", Fail, reason, nil}}, r.Checks...)
	}
	if r.Outcome == Passed && len(r.Failures()) > 0 {
		r.Outcome = Failed
	}
	r.ExitCode = int(r.Outcome)
	return r
}
