package supervisor

import (
	"errors"
	"syscall"
	"time"

	"hupt/generation"
	"hupt/internal/privilege"
)

// What can keep a program from being launched under hupt. Errors of New, Run
// and Restart wrap these.
var (
	ErrNotFound        = errors.New("command not found")
	ErrNotExecutable   = errors.New("not executable")
	ErrPtraceForbidden = errors.New("ptrace is forbidden here")
	ErrSeccompMissing  = errors.New("seccomp filters are not available here")
)

// Config is what an instance is told when it begins.
type Config struct {
	Version string   // of hupt, for Status
	Name    string   // by which `hupt restart` may call the instance; may be empty
	Command []string // program and its arguments; the program is looked up afresh at every launch

	// Launcher is the process that the environment is for: hupt before it went
	// to the background, say. 0: this one. See stage2.Spec.
	Launcher int

	Mode         Mode          // of a restart that says nothing of it; empty: StartFirst
	ReadyTimeout time.Duration // from launch to ready, else the restart is rolled back
	// MayMove: a new version need not take over any of the addresses of the one
	// before. KeepAddresses: it must, all. Neither: one at least.
	MayMove, KeepAddresses bool

	DrainTimeout time.Duration // from quiesce to the hammer; negative: never
	KillAfter    time.Duration // from the stop signal to SIGKILL

	Ready Ready // what makes a new generation ready, beside ReadyTimeout

	Drain       DrainMode            // what is done to connections of a generation that drains
	DrainPorts  map[uint16]DrainMode // the same for those to a local port
	IdleGrace   *time.Duration       // how long one is idle before it is closed; nil: see closing
	CloseSpread *time.Duration       // over which the closing of many is spread; nil: see closing

	StopSignal    syscall.Signal // ends an old generation
	RestartSignal syscall.Signal // to hupt or to the program begins a restart; 0: none does

	Hooks       []Hook
	HookTimeout time.Duration // for each; beyond, it is killed
	// HookUser is whose hooks, and the command of ReadyCommand, are run as. nil:
	// hupt's own.
	HookUser *privilege.User

	// Revive starts a program again that has ended by itself; ReviveMax, if not
	// 0, so often in a row. The pauses begin with ReviveDelay after the second
	// end and double; one that served for ReviveReset is not counted.
	Revive      generation.Revive
	ReviveMax   int
	ReviveDelay time.Duration
	ReviveReset time.Duration

	// WaitChildren: a generation has gone only when the children that its main
	// process left have, which are not told to.
	WaitChildren bool
	KillAtExit   bool   // the program is killed if hupt is
	Up           func() // called once, when the program first serves; may be nil

	// Pidfile names hupt itself, whose pid never changes; ProgramPidfile the
	// main process of the generation that serves. Empty: none.
	Pidfile        string
	ProgramPidfile string
	// Unlink are files that are moved away before a new version starts, and put
	// back if it fails.
	Unlink  []string
	Multi   int  // how many processes a Pool begins with
	Rolling bool // a Pool restarts them one after the other

	AllowIOUring bool // let io_uring_setup pass, whose binds and accepts hupt can't see

	Report func(Event) // told every event, one at a time, on a goroutine of the supervisor's; must not block
}
