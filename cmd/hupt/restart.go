package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	ossignal "os/signal"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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

	Rolling *bool `negatable:"" help:"Of --multi: one process after the other, or all at once; as the run was told."`

	Env     []string `sep:"none" help:"Set a variable of the environment, for this and all later versions; without a value, to the one that it has here." placeholder:"NAME[=VALUE]"`
	EnvFile string   `help:"The same for each line of a file." placeholder:"FILE"`

	Unset []string `sep:"none" help:"Take a variable out of it." placeholder:"NAME"`
	Chdir string   `help:"Another working directory." placeholder:"DIR"`
	modeFlags
	moveFlags
	whose

	rollback bool
}

// rollbackCmd is a restart that takes no changes.
type rollbackCmd struct {
	Target      *string  `arg:"" optional:"" help:"As of restart."`
	WaitDrained bool     `xor:"wait" help:"As of restart."`
	NoWait      bool     `xor:"wait" help:"As of restart."`
	Timeout     duration `help:"As of restart." placeholder:"DUR"`
	JSON        bool     `name:"json" help:"Print events as lines of JSON."`
	modeFlags
	moveFlags
	whose
}

// Run restarts with what was before.
func (c *rollbackCmd) Run(std *streams) error {
	r := restartCmd{Target: c.Target, WaitDrained: c.WaitDrained, NoWait: c.NoWait, Timeout: c.Timeout,
		JSON: c.JSON, modeFlags: c.modeFlags, moveFlags: c.moveFlags, whose: c.whose, rollback: true}
	return r.Run(std, nil)
}

// options checks what the restart is to have different.
func (c *restartCmd) options(other otherCommand) (supervisor.RestartOptions, error) {
	env, err := environment(c.EnvFile, c.Env)
	if err != nil {
		return supervisor.RestartOptions{}, err
	}
	o := supervisor.RestartOptions{ReadyTimeout: time.Duration(c.Timeout), Mode: c.mode(), MayMove: c.MayMove, KeepAddresses: c.KeepAddresses, Command: other, Env: env, Unset: c.Unset, Rollback: c.rollback, Rolling: c.Rolling}
	if c.Timeout < 0 {
		return o, usagef("--timeout must not be negative")
	}
	if other != nil && len(other) == 0 {
		return o, usagef("no command after --; usage: hupt restart [TARGET] [flags] [-- CMD [ARG...]]")
	}
	if o.Dir = c.Chdir; o.Dir != "" && !strings.HasPrefix(o.Dir, "/") {
		here, err := os.Getwd()
		if err != nil {
			return o, err
		}
		// Not cleaned: the kernel follows a symlink before it goes back by a "..".
		o.Dir = here + "/" + o.Dir
	}
	for _, word := range slices.Concat(o.Command, o.Env, o.Unset, []string{o.Dir}) {
		if !utf8.ValidString(word) {
			return o, usagef("%q is not UTF-8, and the control socket carries nothing else: put it into a script", word)
		}
	}
	if err := o.Validate(); err != nil {
		return o, &codeError{exitUsage, err}
	}
	return o, nil
}

// Run restarts and tells of it.
func (c *restartCmd) Run(std *streams, other otherCommand) error {
	options, err := c.options(other)
	if err != nil {
		return err
	}
	ctx, cancel := ossignal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	target, err := find(ctx, c.whose, c.Target)
	if err != nil {
		return err
	}
	stream, err := target.Restart(ctx, options)
	if errors.Is(err, supervisor.ErrNotFound) || errors.Is(err, supervisor.ErrNotExecutable) || errors.Is(err, control.ErrRefused) {
		// Known to be wrong before anything was touched.
		return fmt.Errorf("%w: %w", errRestartFailed, err)
	}
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
func find(ctx context.Context, of whose, arg *string) (*control.Instance, error) {
	target, err := targetName(arg)
	if err != nil {
		return nil, err
	}
	uid, err := of.uid()
	if err != nil {
		return nil, err
	}
	instances, err := control.Find(ctx, control.Dirs(of.RuntimeDir, uid))
	if err != nil {
		return nil, err
	}
	picked, err := control.Pick(instances, target, uid)
	if target == "" && of == (whose{}) && len(instances) == 0 {
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
		if e.Process != 0 {
			continue // of a pool, which decides itself
		}
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
			if e.Source == supervisor.FailedRevive {
				continue // not the restart; what follows is the end
			}
			return fmt.Errorf("%w: %s", errRestartFailed, e.Reason)
		case supervisor.EventStopped:
			return fmt.Errorf("%w: %s", errRestartFailed, describe(e))
		}
	}
}
