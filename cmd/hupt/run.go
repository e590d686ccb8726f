package main

import (
	"fmt"
	"os"
	ossignal "os/signal"
	"syscall"
	"time"

	"hupt/control"
	"hupt/generation"
	"hupt/internal/fault"
	"hupt/internal/privilege"
	"hupt/supervisor"
)

type runCmd struct {
	Command []string `arg:"" optional:"" passthrough:"partial" placeholder:"CMD" name:"cmd" help:"The program and its arguments; all that follows the program is its own."`

	Name           string        `help:"A name for restart, status and stop." placeholder:"NAME"`
	Ready          readiness     `help:"What makes a new version ready: accept, notify, delay:TIME, cmd:COMMAND or http:URL." default:"accept" placeholder:"accept"`
	ReadyTimeout   duration      `help:"How long a new version may take until it serves." default:"60s" placeholder:"60s"`
	DrainTimeout   deadline      `help:"How long the old version may take to finish its connections; negative or never: as long as it wants." default:"60s" placeholder:"60s"`
	StopSignal     signal        `help:"What ends the old version." default:"TERM" placeholder:"TERM"`
	KillAfter      duration      `help:"How long it may take to end before it is killed." default:"10s" placeholder:"10s"`
	RestartSignal  restartSignal `help:"What restarts when it is sent to hupt or to the program; none: nothing does." default:"HUP" placeholder:"HUP"`
	Pidfile        string        `help:"A file that names hupt's own pid, which never changes." placeholder:"PATH"`
	ProgramPidfile string        `help:"A file that names the pid of the version that serves." placeholder:"PATH"`
	Unlink         []string      `sep:"none" help:"A file to move away before a new version starts, and to put back if it fails: its pidfile, say." placeholder:"PATH"`
	Hook           []string      `sep:"none" help:"A command to run when something happened to a version: before-start, started, ready, quiesced, drained, failed, stopped." placeholder:"EVENT=CMD"`
	HookTimeout    duration      `help:"How long a hook may take before it is killed." default:"30s" placeholder:"30s"`
	Multi          *int          `help:"Run so many processes of the program on the same sockets." placeholder:"N"`
	Rolling        bool          `help:"With --multi: restart them one after the other, and stop at the first that fails."`
	Revive         revive        `help:"Start the program again however it ended: always, or on-failure." placeholder:"[=always]"`
	ReviveMax      int           `help:"Give up after so many revivals in a row; 0: never." placeholder:"0"`
	ReviveDelay    duration      `help:"The pause before it is started again for the second time; it doubles up to 30s." default:"100ms" placeholder:"100ms"`
	ReviveReset    duration      `help:"One that served for so long is started again at once." default:"10s" placeholder:"10s"`
	WaitChildren   bool          `help:"A version has gone only when its children have, too; they are not made to."`
	KillAtExit     bool          `help:"The program is killed if hupt is; otherwise it lives on."`
	Background     bool          `help:"Go to the background when the program serves; print hupt's pid."`
	Log            string        `help:"With --background: what hupt and the program write goes there." placeholder:"FILE"`
	BackgroundFD   int           `name:"background-fd" hidden:""`
	BackgroundPID  int           `name:"background-pid" hidden:""`
	AllowIOUring   bool          `name:"allow-io-uring" help:"Let the program use io_uring, whose sockets hupt can't hand over."`
	Quiet          bool          `short:"q" xor:"verbosity" help:"Tell only of failures."`
	Verbose        bool          `short:"v" xor:"verbosity" help:"Tell of everything."`
	privileges
	drainFlags
	modeFlags
	moveFlags
	runtimeDir
}

// instance is what `hupt run` needs of a supervisor.
type instance interface {
	supervisor.Restarter
	Run() (exitCode int, err error)
}

// Run runs the program until it ends.
func (c *runCmd) Run(std *streams, line commandLine) error {
	// All that follows the first positional argument is the command.
	c.Command = line.tail(len(c.Command))
	if err := c.become(line); err != nil {
		return err
	}
	switch {
	case c.BackgroundFD > 0:
		return c.daemon(std)
	case c.Background:
		if _, err := c.config(); err != nil {
			return err
		}
		return c.background(std, line)
	}
	return c.run(std, nil)
}

// run runs the program in the foreground. up is called when it first serves.
func (c *runCmd) run(std *streams, up func()) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	config.Up = up
	fault.Point("start")
	report := newReporter(std.err, c.level())
	defer report.close()
	config.Report = report.event
	if err := privilege.Drop(); err != nil {
		report.line(levelVerbose, fmt.Sprintf("hupt keeps capabilities that it does not need: %v", err))
	}
	supervised, err := newInstance(config)
	if err != nil {
		return err
	}
	// When nobody reads stderr any more, a write to it would end hupt and leave
	// the program alone (os/signal, "SIGPIPE"). Not to ignore it: the program
	// would inherit that. Not before New: that looks how signals stand.
	ossignal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	server, err := control.Listen(control.RuntimeDir(c.RuntimeDir), os.Getpid())
	if err != nil {
		report.line(levelNormal, fmt.Sprintf("warning: %v; hupt restart, status and stop won't find this instance%s", err, c.withoutSocket()))
	} else {
		server.Serve(supervised)
		defer server.Close()
	}
	code, err := supervised.Run()
	if err != nil {
		return err
	}
	return &codeError{code: code}
}

// processes is how many a pool has at first; 0: it is none.
func (c *runCmd) processes() int {
	if c.Multi == nil {
		return 0
	}
	return *c.Multi
}

// withoutSocket says how to restart then.
func (c *runCmd) withoutSocket() string {
	if c.RestartSignal == 0 {
		return ""
	}
	return fmt.Sprintf(", kill -%d %d restarts it", c.RestartSignal, os.Getpid())
}

// config checks the flags.
func (c *runCmd) config() (supervisor.Config, error) {
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	switch {
	case len(command) == 0:
		return supervisor.Config{}, usagef("no command to run; usage: hupt run [flags] CMD [ARG...]")
	case command[0] == "":
		return supervisor.Config{}, usagef("the command is empty; usage: hupt run [flags] CMD [ARG...]")
	case c.ReadyTimeout <= 0:
		return supervisor.Config{}, usagef("--ready-timeout must be more than 0")
	case c.KillAfter < 0:
		return supervisor.Config{}, usagef("--kill-after must not be negative")
	case syscall.Signal(c.StopSignal) == syscall.SIGSTOP:
		return supervisor.Config{}, usagef("--stop-signal STOP would not end anything")
	case c.Multi != nil && (*c.Multi < 1 || *c.Multi > supervisor.MaxProcesses):
		return supervisor.Config{}, usagef("--multi must be from 1 to %d, not %d", supervisor.MaxProcesses, *c.Multi)
	case c.Rolling && c.Multi == nil:
		return supervisor.Config{}, usagef("--rolling is for several processes: give --multi N, too")
	case c.ProgramPidfile != "" && c.Multi != nil:
		return supervisor.Config{}, usagef("--program-pidfile names one process; with --multi there are several: use --pidfile, which names hupt")
	}
	if err := c.checkFiles(); err != nil {
		return supervisor.Config{}, err
	}
	if err := c.checkDrain(); err != nil {
		return supervisor.Config{}, err
	}
	if c.ReviveMax < 0 || c.ReviveDelay <= 0 || c.ReviveReset < 0 {
		return supervisor.Config{}, usagef("--revive-max and --revive-reset must not be negative, --revive-delay must be more than 0")
	}
	if c.Log != "" && !c.Background {
		return supervisor.Config{}, usagef("--log is for --background; in the foreground redirect the output")
	}
	if c.ReviveMax > 0 && c.Revive == revive(generation.ReviveNever) {
		return supervisor.Config{}, usagef("--revive-max needs --revive")
	}
	if err := c.checkPrivileges(); err != nil {
		return supervisor.Config{}, err
	}
	hooks, err := c.hooks()
	if err != nil {
		return supervisor.Config{}, err
	}
	return supervisor.Config{
		WaitChildren: c.WaitChildren,
		KillAtExit:   c.KillAtExit,

		Revive:      generation.Revive(c.Revive),
		ReviveMax:   c.ReviveMax,
		ReviveDelay: time.Duration(c.ReviveDelay),
		ReviveReset: time.Duration(c.ReviveReset),

		Hooks:       hooks,
		HookTimeout: time.Duration(c.HookTimeout),
		HookUser:    c.HookUser.user,

		Version:       version(),
		Name:          c.Name,
		Launcher:      c.BackgroundPID,
		Command:       command,
		Ready:         supervisor.Ready(c.Ready),
		Mode:          c.mode(),
		MayMove:       c.MayMove,
		KeepAddresses: c.KeepAddresses,
		ReadyTimeout:  time.Duration(c.ReadyTimeout),
		DrainTimeout:  time.Duration(c.DrainTimeout),
		Drain:         c.Drain,
		DrainPorts:    c.DrainPort,
		IdleGrace:     (*time.Duration)(c.IdleGrace),
		CloseSpread:   (*time.Duration)(c.CloseSpread),
		KillAfter:     time.Duration(c.KillAfter),
		StopSignal:    syscall.Signal(c.StopSignal),
		RestartSignal: syscall.Signal(c.RestartSignal),
		Multi:         c.processes(),
		Rolling:       c.Rolling,
		AllowIOUring:  c.AllowIOUring,

		Pidfile:        c.Pidfile,
		ProgramPidfile: c.ProgramPidfile,
		Unlink:         c.Unlink,
	}, nil
}

func (c *runCmd) level() level {
	switch {
	case c.Quiet:
		return levelQuiet
	case c.Verbose:
		return levelVerbose
	}
	return levelNormal
}
