package supervisor

import (
	"errors"
	"time"
)

// ErrBusy is what Restart answers while another restart has not yet been
// decided. The error that wraps it says which generation is where.
var ErrBusy = errors.New("a restart is in progress")

// inTheWay is an ErrBusy where no restart is what a restart waits for.
type inTheWay string

func (e inTheWay) Error() string        { return string(e) }
func (e inTheWay) Is(target error) bool { return target == ErrBusy }

// ErrStopping is what Restart answers once the instance has been told to stop.
var ErrStopping = errors.New("the instance is stopping")

// EventKind says what an Event tells.
type EventKind string

// The events of a restart, in the order in which a good one tells them, then
// those of a bad one, then those of the instance's end.
const (
	EventStarting  EventKind = "starting"  // a generation was launched; PID is its first process
	EventAdopted   EventKind = "adopted"   // it got a held socket at its bind(); Address says which
	EventQuiesced  EventKind = "quiesced"  // the old generation accepts no more, and the new one comes when it has gone: connections wait
	EventReady     EventKind = "ready"     // it waits for connections on every socket it adopted
	EventServing   EventKind = "serving"   // the old generation was quiesced: every new connection is this one's
	EventConfirmed EventKind = "confirmed" // it outlived its probation: the restart succeeded
	EventDraining  EventKind = "draining"  // a generation has Connections left; told again whenever the count falls
	EventDrained   EventKind = "drained"   // it has none left
	EventHammer    EventKind = "hammer"    // its drain deadline came, or USR2; Connections were left
	EventStopping  EventKind = "stopping"  // it was sent the stop signal
	EventKilled    EventKind = "killed"    // it outlived kill-after and was sent SIGKILL
	EventGone      EventKind = "gone"      // its last process has ended; Cut connections were lost

	EventFailed  EventKind = "failed"  // the restart failed: Reason says why; the serving generation serves on. Or a scale did, or a revival
	EventResumed EventKind = "resumed" // a quiesced generation accepts again (rollback after the quiesce, or the one after it died while it drained)

	EventRetry    EventKind = "retry"    // what served before a failed restart could not be started again, for Reason, and will be; connections wait
	EventScaled   EventKind = "scaled"   // the pool has Processes now
	EventReviving EventKind = "reviving" // the program ended, as Reason says, and is started again in After

	EventStopped EventKind = "stopped" // the last generation ended: the instance ends with ExitCode
	EventOutput  EventKind = "output"  // a line that a hook printed: Reason; Source says which hook
	EventWarning EventKind = "warning" // something to know that is not a failure; Reason tells
)

// What an EventFailed is about that is about no generation, as its Source says.
const (
	FailedRestart = "restart" // of a pool
	FailedScale   = "scale"
	FailedRevive  = "revive" // the program is not started again
)

// Event is one thing that happened in an instance, told as it happens.
type Event struct {
	Time        time.Time `json:"time"`
	Kind        EventKind `json:"kind"`
	Process     int       `json:"process,omitempty"`    // of a pool, which generations are counted by
	Generation  int       `json:"generation,omitempty"` // the generation that it is about
	PID         int       `json:"pid,omitempty"`        // that generation's first process
	After       float64   `json:"after_s,omitempty"`    // seconds since the restart (or the stop) began
	Address     string    `json:"address,omitempty"`    // of EventAdopted: "tcp 127.0.0.1:8080"
	Connections int       `json:"connections,omitempty"`
	Busy        int       `json:"busy,omitempty"` // of EventDraining: of these; so are Idle and Closing
	Idle        int       `json:"idle,omitempty"`
	Closing     int       `json:"closing,omitempty"`
	Cut         int       `json:"cut,omitempty"`
	Processes   int       `json:"processes,omitempty"` // of EventScaled and a pool's EventConfirmed: how many
	ExitCode    int       `json:"exit_code,omitempty"` // of EventStopped
	Asked       bool      `json:"asked,omitempty"`     // of EventStopped: hupt was told to stop it
	Reason      string    `json:"reason,omitempty"`
	LetGo       []string  `json:"let_go,omitempty"` // of EventConfirmed: addresses of the version before that it did not take over
	Source      string    `json:"source,omitempty"` // of EventOutput, and of an EventFailed without a generation
	// LastCall is, of EventStopped, the last system call of the program that
	// was seen to fail, if it never served: "bind 127.0.0.1:80: permission denied".
	LastCall string `json:"last_call,omitempty"`
}

// RestartOptions are what one restart may have different from the instance.
type RestartOptions struct {
	// ReadyTimeout bounds the time from launch to ready; 0 takes the
	// instance's. A new generation that is not ready by then is ended.
	ReadyTimeout time.Duration `json:"ready_timeout_ns,omitempty"`
	// Command, Env (NAME=VALUE), Unset (names) and Dir (absolute) change what
	// is executed, how, and where. If the restart succeeds, all later ones do
	// the same; if not, nothing has changed. Empty: as before.
	Command []string `json:"command,omitempty"`
	Env     []string `json:"env,omitempty"`
	Unset   []string `json:"unset,omitempty"`
	Dir     string   `json:"dir,omitempty"`
	// Mode is in which order it goes about things; empty: the instance's.
	Mode Mode `json:"mode,omitempty"`
	// MayMove and KeepAddresses say which of the addresses of the version before the
	// new one must take over, instead of Config's. Not both.
	MayMove       bool `json:"may_move,omitempty"`
	KeepAddresses bool `json:"keep_addresses,omitempty"`
	// Rollback starts what was executed before the last such change.
	Rollback bool `json:"rollback,omitempty"`
	// Rolling, of a pool: one process after the other. nil: as the instance
	// was told. Where a single process runs, true is refused.
	Rolling *bool `json:"rolling,omitempty"`
}

// Restarter is what the control socket needs of an instance.
type Restarter interface {
	// Restart begins a restart. It fails with an error that wraps ErrBusy or
	// ErrStopping if none can begin. The channel tells every event of the
	// instance from here on, until the restart was decided and the old
	// generation has gone, or cancel is called; then it is closed.
	// So it does with ErrBadOptions and ErrNoPrevious.
	Restart(RestartOptions) (events <-chan Event, cancel func(), err error)
	// Stop ends the program as a TERM to hupt does. The channel is closed
	// after EventStopped.
	Stop() (events <-chan Event, cancel func())
	// Status says how the instance is; with connections, also how each
	// connection is.
	Status(connections bool) Status
}

// Scaler is an instance whose processes can be counted anew.
type Scaler interface {
	// Scale makes it have n processes. It fails as Restart does.
	Scale(n int) (events <-chan Event, cancel func(), err error)
}

// Status is how an instance is at one moment.
type Status struct {
	Version     string             `json:"version"`
	PID         int                `json:"pid"` // of hupt itself; it never changes
	Name        string             `json:"name,omitempty"`
	Command     []string           `json:"command"`
	Previous    []string           `json:"previous_command,omitempty"` // to which a rollback would go
	Path        string             `json:"path"`                       // of the program that serves, or was executed last, as it was resolved then
	Dir         string             `json:"dir"`
	Started     time.Time          `json:"started"`
	Processes   int                `json:"processes,omitempty"` // of a pool, that it is to have
	State       string             `json:"state"`               // "running", "restarting", "recovering", "reviving", "scaling", "stopping"
	Restarts    int                `json:"restarts"`            // that succeeded
	Rollbacks   int                `json:"rollbacks"`           // restarts that failed
	Cut         int                `json:"cut"`                 // connections lost at a hammer, ever
	Stops       map[string]uint64  `json:"stops"`               // ptrace stops by kind ("signal", "clone", "seccomp:bind"…)
	Injected    uint64             `json:"injected"`            // system calls that hupt made inside the program, ever
	Generations []GenerationStatus `json:"generations"`
}

// GenerationStatus is how one generation is.
type GenerationStatus struct {
	Process     int            `json:"process,omitempty"` // of a pool, whose generation it is
	Number      int            `json:"number"`
	State       string         `json:"state"` // "starting", "ready", "serving", "draining", "stopping"
	PID         int            `json:"pid"`   // its first process, or the one that took its place
	PIDs        []int          `json:"pids"`
	Started     time.Time      `json:"started"`
	RSS         int64          `json:"rss_bytes"`   // resident memory of all its processes
	Connections int            `json:"connections"` // accepted ones that are open
	Sockets     []SocketStatus `json:"sockets"`
	LetGo       []string       `json:"let_go,omitempty"` // addresses of the version before on which it does not listen
	// Connected are the connections one by one, if they were asked for.
	Connected []ConnectionStatus `json:"connected,omitempty"`
}

// SocketStatus is one listening socket of a generation, or one that takes
// datagrams, whose queue is not told.
type SocketStatus struct {
	Network string `json:"network"` // "tcp4", "tcp6", "udp4", "udp6"; "unix" (stream), "unixpacket", "unixgram"
	Address string `json:"address"` // "127.0.0.1:8080", "[::]:80", "/run/app.sock", "@abstract"
	Adopted bool   `json:"adopted"` // it was handed over by the generation before
	Queue   int    `json:"queue"`   // connections that wait for accept()
	Backlog int    `json:"backlog"` // how many may wait
}
