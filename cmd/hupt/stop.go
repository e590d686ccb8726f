package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	ossignal "os/signal"
	"time"

	"hupt/control"
)

type stopCmd struct {
	Target *string `arg:"" optional:"" help:"As of restart."`
	JSON   bool    `name:"json" help:"Print events as lines of JSON."`
	whose
}

// exitGrace is how long hupt may take to end after it said that all is over,
// or after it went silent, before that is an error.
const exitGrace = 10 * time.Second

// Run stops an instance and waits until it is gone.
func (c *stopCmd) Run(std *streams) error {
	ctx, cancel := ossignal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	target, err := find(ctx, c.whose, c.Target)
	if err != nil {
		return err
	}
	gone, err := target.Gone()
	if err != nil {
		return err
	}
	stream, err := target.Stop(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	tell := newTeller(std.out, c.JSON)
	err = watchStop(stream, tell)
	if ctx.Err() != nil {
		return fmt.Errorf("%w; the stop goes on, see: hupt status %d", errInterrupted, target.PID)
	}
	select {
	case <-gone: // however the stream ended
		tell.done()
		return nil
	case <-time.After(exitGrace):
	}
	if err == nil {
		err = fmt.Errorf("hupt %d stopped its program and does not end: %w", target.PID, control.ErrNoAnswer)
	}
	return err
}

// watchStop tells events until there are no more.
func watchStop(stream *control.Stream, tell *teller) error {
	defer tell.end()
	for {
		e, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		tell.event(e)
	}
}
