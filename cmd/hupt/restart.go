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
	"hupt/supervisor"
)

var (
	errRestartFailed = errors.New("restart failed")
	errInterrupted   = errors.New("interrupted")
)

type restartCmd struct {
	Target      *string  `arg:"" optional:"" help:"A pid of hupt or of a process under it, a name given at run, or the program's path or name; may be left out if one instance runs."`
	WaitDrained bool     `xor:"wait" help:"Wait until the old version has gone, too."`
	NoWait      bool     `xor:"wait" help:"Begin the restart and leave."`
	Timeout     duration `help:"How long the new version may take until it serves, else it is rolled back." placeholder:"DUR"`
	JSON        bool     `name:"json" help:"Print events as lines of JSON."`
	runtimeDir
}

// Run restarts and tells of it.
func (c *restartCmd) Run(std *streams) error {
	if c.Timeout < 0 {
		return usagef("--timeout must not be negative")
	}
	ctx, cancel := ossignal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	target, err := find(ctx, c.RuntimeDir, c.Target)
	if err != nil {
		return err
	}
	stream, err := target.Restart(ctx, supervisor.RestartOptions{ReadyTimeout: time.Duration(c.Timeout)})
	if err != nil {
		return err
	}
	defer stream.Close()
	if c.NoWait {
		if !c.JSON {
			fmt.Fprintf(std.out, "restart of hupt %s begun\n", printable(target.String()))
		}
		return nil
	}
	err = watchRestart(stream.Next, newTeller(std.out, c.JSON), c.WaitDrained)
	if ctx.Err() != nil {
		return fmt.Errorf("%w; the restart goes on, see: hupt status %d", errInterrupted, target.PID)
	}
	return err
}

// targetName is the target, "" if none was given. One that is given and empty
// is a script's unset variable: it must not mean "the only instance".
func targetName(arg *string) (string, error) {
	switch {
	case arg == nil:
		return "", nil
	case *arg == "":
		return "", usagef("the target is empty; leave it out or name an instance")
	}
	return *arg, nil
}

// find gives the instance that is meant.
func find(ctx context.Context, dir string, arg *string) (*control.Instance, error) {
	target, err := targetName(arg)
	if err != nil {
		return nil, err
	}
	instances, err := control.Find(ctx, control.Dirs(dir))
	if err != nil {
		return nil, err
	}
	picked, err := control.Pick(instances, target)
	if target == "" && dir == "" && len(instances) == 0 {
		if lost := control.Lost(); lost != nil {
			return nil, lost
		}
	}
	return picked, err
}

// watchRestart tells events until the restart has succeeded, or, with drained,
// until the old version has gone, too. A new version that serves has not
// succeeded yet: it may die within its probation, and the old one is resumed.
func watchRestart(next func() (supervisor.Event, error), tell *teller, drained bool) error {
	defer tell.end()
	begun, confirmed := 0, false // the new generation's number; it is here to stay
	for {
		e, err := next()
		if errors.Is(err, io.EOF) && confirmed {
			tell.done()
			return nil
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: hupt did not say how it went", errRestartFailed)
		}
		if err != nil {
			return err
		}
		tell.event(e)
		switch e.Kind {
		case supervisor.EventStarting:
			if begun == 0 {
				begun = e.Generation
			}
		case supervisor.EventConfirmed:
			if begun != 0 && e.Generation != begun {
				continue
			}
			if confirmed = true; !drained {
				return nil
			}
		case supervisor.EventFailed:
			return fmt.Errorf("%w: %s", errRestartFailed, e.Reason)
		case supervisor.EventStopped:
			return fmt.Errorf("%w: %s", errRestartFailed, describe(e))
		}
	}
}
