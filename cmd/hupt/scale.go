package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	ossignal "os/signal"

	"hupt/supervisor"
)

var errScaleFailed = errors.New("scale failed")

type scaleCmd struct {
	N      int     `arg:"" help:"How many processes there are to be."`
	Target *string `arg:"" optional:"" help:"As of restart."`
	NoWait bool    `help:"Begin it and leave."`
	JSON   bool    `name:"json" help:"Print events as lines of JSON."`
	whose
}

// Run changes the number of processes of an instance that was started with
// --multi. Those that are to go finish their connections first.
func (c *scaleCmd) Run(std *streams) error {
	if c.N < 1 || c.N > supervisor.MaxProcesses {
		return usagef("the number of processes must be from 1 to %d, not %d", supervisor.MaxProcesses, c.N)
	}
	ctx, cancel := ossignal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	target, err := find(ctx, c.whose, c.Target)
	if err != nil {
		return err
	}
	stream, err := target.Scale(ctx, c.N)
	if err != nil {
		return err
	}
	defer stream.Close()
	if c.NoWait {
		return nil
	}
	err = watchScale(stream.Next, newTeller(std.out, c.JSON))
	if ctx.Err() != nil {
		return fmt.Errorf("%w; it goes on, see: hupt status %d", errInterrupted, target.PID)
	}
	return err
}

// watchScale tells events until the processes that had to go have gone.
func watchScale(next func() (supervisor.Event, error), tell *teller) error {
	defer tell.end()
	done := false
	for {
		e, err := next()
		switch {
		case errors.Is(err, io.EOF) && done:
			tell.done()
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: hupt did not say how it went", errScaleFailed)
		case err != nil:
			return err
		}
		tell.event(e)
		switch {
		case e.Kind == supervisor.EventScaled:
			done = true
		case e.Kind == supervisor.EventFailed && e.Process == 0:
			return fmt.Errorf("%w: %s", errScaleFailed, e.Reason)
		case e.Kind == supervisor.EventStopped && !done:
			return fmt.Errorf("%w: %s", errScaleFailed, describe(e))
		}
	}
}
