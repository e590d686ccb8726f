package smoke

import (
	"time"

	"hupt/load"
)

// Outcome is the verdict on a whole run; its number is hupt smoke's exit code.
type Outcome int

// The outcomes.
const (
	Passed     Outcome = 0
	Failed     Outcome = 1 // a check failed
	NeverReady Outcome = 2 // the server did not listen, or did not answer, in time
	Died       Outcome = 3 // the server ended by itself
	Forbidden  Outcome = 4 // ptrace or seccomp is not allowed here
	WrongUsage Outcome = 5
)

// String returns the outcome in words.
func (o Outcome) String() string {
	switch o {
	case Passed:
		return "passed"
	case Failed:
		return "failed"
	case NeverReady:
		return "never ready"
	case Died:
		return "the server died"
	case Forbidden:
		return "not allowed here"
	}
	return "wrong usage"
}

// MarshalText makes the outcome readable in JSON.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Report is all that a run found. Durations are in nanoseconds; those called
// At count from Began.
type Report struct {
	Version  string        `json:"version,omitempty"` // of hupt
	Command  []string      `json:"command"`
	Began    time.Time     `json:"began"`
	Took     time.Duration `json:"took_ns"`
	Outcome  Outcome       `json:"outcome"`
	ExitCode int           `json:"exit_code"`
	Reason   string        `json:"reason,omitempty"` // why it ended early
	Checks   []Check       `json:"checks"`
	Output   []string      `json:"server_output,omitempty"` // its last lines
	Measured Measured      `json:"measured"`
	Limits   Limits        `json:"limits"`
}

// Measured is what a run measured; Judge makes checks of it.
type Measured struct {
	ReadyAfter  time.Duration `json:"ready_after_ns"` // from launch to the first answer
	LoadFrom    time.Duration `json:"load_from_ns"`
	LoadTo      time.Duration `json:"load_to_ns"`
	Targets     []Target      `json:"targets"`
	LateTargets []Socket      `json:"late_sockets,omitempty"` // that came when the load already ran

	Load    load.Result            `json:"load"`
	ByKind  map[string]load.Result `json:"by_kind"`
	Before  load.Latency           `json:"latency_before"`   // of requests before the first restart
	During  load.Latency           `json:"latency_during"`   // while one went on
	Between load.Latency           `json:"latency_between"`  // after one, when none went on
	Machine load.Latency           `json:"machine_lateness"` // how late the machine wakes a thread that slept

	// The same while a restart went on, and between two.
	machineDuring, machineBetween load.Latency

	Restarts    []Restart    `json:"restarts"`
	Asked       int          `json:"restarts_asked"`
	BadStart    *BadStart    `json:"bad_start,omitempty"`
	Generations []Generation `json:"generations"`
	Spans       []Span       `json:"phases"`
	UserTests   *UserTests   `json:"user_tests,omitempty"`

	Idle            Resources `json:"idle_first"` // the first generation, ready, before the load
	IdleLast        Resources `json:"idle_last"`  // the last, after the load
	ConnectionsLeft int       `json:"connections_left"`
	Left            []Process `json:"left,omitempty"` // alive after the end
	Stop            Stop      `json:"stop"`
	Complete        bool      `json:"complete"` // the course went to its end
	Ended           bool      `json:"ended"`    // the server, or hupt, ended by itself

	Samples []Sample `json:"-"` // every request
}

// Socket is one that the server listens on, or is bound to for UDP.
type Socket struct {
	Network string `json:"network"` // "tcp4", "tcp6", "unix", "udp4", "udp6"
	Address string `json:"address"`
	Inode   uint64 `json:"inode"`
}

// String returns the socket as status shows it.
func (s Socket) String() string { return s.Network + " " + s.Address }

// Target is a socket and how it is asked.
type Target struct {
	Socket
	Speaks Protocol `json:"speaks"`
	Dial   string   `json:"dial"`             // the address that clients connect to
	Status int      `json:"status,omitempty"` // of HTTP: that it gave first
	Dual   bool     `json:"dual,omitempty"`   // an IPv6 socket that takes IPv4 clients too
	Note   string   `json:"note,omitempty"`

	inodes []uint64 // more than one for a group of SO_REUSEPORT
	ask    exchange
	lesson lesson
}

// Restart is one restart of the run.
type Restart struct {
	Number     int           `json:"number"`
	At         time.Duration `json:"at_ns"`
	Generation int           `json:"generation"` // the new one
	PID        int           `json:"pid"`
	Ready      time.Duration `json:"ready_ns"`   // since At; 0: never
	Serving    time.Duration `json:"serving_ns"` // since At; 0: never
	Gone       time.Duration `json:"gone_ns"`    // the old one's last process; 0: never
	OK         bool          `json:"ok"`
	Reason     string        `json:"reason,omitempty"`
	Cut        int           `json:"cut"`       // connections lost at the hammer
	Hammered   bool          `json:"hammered"`  // the drain deadline came
	Witnesses  int           `json:"witnesses"` // connections whose server process was looked up
	ByOther    int           `json:"by_other"`  // of these, not the new generation's
	Lost       []string      `json:"lost,omitempty"`
	Program    string        `json:"program,omitempty"` // what the new generation runs, as the kernel tells
	Expected   string        `json:"expected,omitempty"`
	Upgraded   bool          `json:"upgraded,omitempty"` // to the second version
}

// BadStart is the restart that had to fail.
type BadStart struct {
	At         time.Duration `json:"at_ns"`
	Took       time.Duration `json:"took_ns"`
	RolledBack bool          `json:"rolled_back"`
	Reason     string        `json:"reason"`
	Failures   int64         `json:"failures"` // of requests meanwhile
	Recovered  bool          `json:"recovered"`
	After      string        `json:"after,omitempty"` // why the good restart right after failed
}

// Generation is one launch of the server.
type Generation struct {
	Number   int           `json:"number"`
	PID      int           `json:"pid"`
	From     time.Duration `json:"from_ns"`
	Gone     time.Duration `json:"gone_ns"` // 0: not seen
	StopSent time.Duration `json:"stop_sent_ns"`
	Killed   bool          `json:"killed"` // it outlived the stop signal
	Requests int64         `json:"requests"`
	Failures int64         `json:"failures"`
	// Outlived tells of processes that were still there when the first one
	// had ended on its stop signal.
	Outlived []Process `json:"outlived,omitempty"`

	had []Process // its processes when it was last looked at; the first leads
}

// Resources are what the processes of a generation have.
type Resources struct {
	Processes int   `json:"processes"`
	FDs       int   `json:"fds"`
	RSS       int64 `json:"rss_bytes"`
	OK        bool  `json:"ok"` // they could be read
}

// Process is one process.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	born uint64 // start time in clock ticks, so that a pid is not taken for another's
}

// Span is a phase of the run that is not quiet.
type Span struct {
	Restart int           `json:"restart"` // 0: the bad start
	Name    string        `json:"name"`    // "starting", "draining"
	From    time.Duration `json:"from_ns"`
	To      time.Duration `json:"to_ns"`
}

// UserTests tells how the user's own tests went.
type UserTests struct {
	Command  string        `json:"command"`
	Took     time.Duration `json:"took_ns"`
	ExitCode int           `json:"exit_code"`
	Output   []string      `json:"output,omitempty"`
	Restarts int           `json:"restarts"` // while they ran
	Error    string        `json:"error,omitempty"`
}

// Stop tells how the server ended in the end.
type Stop struct {
	Sent     bool          `json:"sent"`
	After    time.Duration `json:"after_ns"`
	ExitCode int           `json:"exit_code"`
	Killed   bool          `json:"killed"`
	TimedOut bool          `json:"timed_out"` // not even SIGKILL ended it
}

// Sample is one request.
type Sample struct {
	At         time.Duration // when it ended
	Latency    time.Duration
	Kind       load.Kind
	Class      load.Class
	Generation int // that served at its end
}
