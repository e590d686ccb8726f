package generation

import "time"

// Event is something that happened. N is the generation that it is about.
type Event interface{ event() }

// What can happen.
type (
	// RestartWanted: generation N is to replace the serving one. It may be
	// refused (see Machine.Busy), which the caller must have asked.
	RestartWanted struct {
		N            int           // the next one: see Machine.Next
		ReadyTimeout time.Duration // 0: the policy's
		Mode         Mode
		Addresses    Addresses
	}
	// Prepared: whatever can be known to be wrong with N before anything is
	// touched was looked for, and was not found; if the serving generation is
	// to go first, its sockets are held. LaunchFailed tells otherwise.
	Prepared struct{ N int }
	// ReviveDue: the pause of ReviveAfter is over, and generation N is to serve.
	ReviveDue struct{ N int }
	// Launched: N executes its program, and may adopt Offered held sockets, which
	// have so many Addresses.
	Launched struct{ N, Offered, Addresses int }
	// LaunchFailed: it does not, and no process of it is left. It answers
	// Prepare, too.
	LaunchFailed struct {
		N      int
		Reason string
	}
	// Executed answers Execute: the process of generation Old is N's now, which
	// may adopt Offered held sockets.
	Executed struct{ N, Old, Offered, Addresses int }
	// ExecuteFailed: it is not. What is left of the old generation is as it was.
	ExecuteFailed struct {
		N      int
		Reason string
	}
	// Progressed: N bound, listened or waited for the first time.
	Progressed struct {
		N int
		P Progress
	}
	// Told: N, or whoever was asked, says that it is ready.
	Told struct{ N int }
	// Doubted: whoever was asked says that it is not, yet.
	Doubted struct {
		N      int
		Reason string
	}
	// CallFailed: a system call of N that hupt watches failed.
	CallFailed struct {
		N    int
		Text string
	}
	// Exited: a process of N ended.
	Exited struct {
		N    int
		Main bool // it was the main one
		Last bool // none is left
		Exit Exit
	}
	// Quiesced: N accepts no more.
	Quiesced struct{ N int }
	// QuiesceFailed: N could not be quiesced, and accepts on.
	QuiesceFailed struct {
		N      int
		Reason string
	}
	// Resumed: N accepts again.
	Resumed struct{ N int }
	// Counted: N has Left accepted connections that are waited for, and
	// Abandoned ones that are not. Open: it may get more, or is to answer what it
	// received without any.
	Counted struct {
		N         int
		Left      int
		Abandoned int
		Open      bool
	}
	// Listened: whether some process of N listens on something, asked for by
	// CheckListening.
	Listened struct {
		N  int
		On bool
	}
	// Expired: a timer of N ran out.
	Expired struct {
		N     int
		Timer Timer
	}
	// HammerWanted: what drains is to be ended now.
	HammerWanted struct{}
	// StopWanted: the program is to end. Now: at once. Sent: the main process
	// of the serving generation got the signal already.
	StopWanted struct {
		Signal int
		Now    bool
		Sent   bool
	}
	// RetireWanted: the program is to end, but to finish what it has first.
	RetireWanted struct{}
)

func (RestartWanted) event() {}
func (Prepared) event()      {}
func (ReviveDue) event()     {}
func (Launched) event()      {}
func (Executed) event()      {}
func (ExecuteFailed) event() {}
func (LaunchFailed) event()  {}
func (Progressed) event()    {}
func (Told) event()          {}
func (Doubted) event()       {}
func (CallFailed) event()    {}
func (Exited) event()        {}
func (Quiesced) event()      {}
func (QuiesceFailed) event() {}
func (Resumed) event()       {}
func (Counted) event()       {}
func (Listened) event()      {}
func (Expired) event()       {}
func (HammerWanted) event()  {}
func (StopWanted) event()    {}
func (RetireWanted) event()  {}

// Timer is what a timer of a generation is for. Each has at most one of a kind.
type Timer int

// The timers.
const (
	ReadyTimer Timer = iota
	SettleTimer
	ProbationTimer
	DrainTimer
	KillTimer
	DaemonTimer
	// RetryTimer is the instance's: its N is 0.
	RetryTimer
)

// Action is something to be done, in the order of the list.
type Action interface{ action() }

// What can be to do.
type (
	// Prepare looks whether generation N can be launched at all, takes hold of
	// the serving generation's sockets if that is to go first, and answers
	// Prepared or LaunchFailed.
	Prepare struct {
		N    int
		Mode Mode
	}
	// Launch starts generation N, offering the sockets of the serving one, or
	// those that are held. Again: it is what served before the restart that
	// failed, for the n-th time; 0: it is the new version.
	Launch struct{ N, Again int }
	// Execute makes the main process of Old, which accepts no more, execute the
	// program of N, once the other processes of Old were ended: Executed, or
	// ExecuteFailed.
	Execute struct{ N, Old int }
	// ReviveAfter wants ReviveDue after a pause.
	ReviveAfter struct{ After time.Duration }
	// Quiesce makes N stop accepting, and answers Quiesced or QuiesceFailed.
	Quiesce struct{ N int }
	// Resume undoes it, and answers Resumed.
	Resume struct{ N int }
	// Settled says that N serves.
	Settled struct{ N int }
	// Admit lets N accept while somebody else decides whether it is ready.
	Admit struct{ N int }
	// Drain counts N's connections until it has gone: Counted.
	Drain struct{ N int }
	// Signal is sent to the main process of N, or to All. 0: the stop signal.
	Signal struct {
		N      int
		Signal int
		All    bool
	}
	// Kill sends SIGKILL to all of N.
	Kill struct{ N int }
	// CheckListening answers Listened.
	CheckListening struct{ N int }
	// SetTimer (re)starts a timer; ClearTimer stops it.
	SetTimer struct {
		N     int
		Timer Timer
		After time.Duration
	}
	ClearTimer struct {
		N     int
		Timer Timer
	}
	// Forget: N has gone.
	Forget struct{ N int }
	// Report tells whoever listens.
	Report struct {
		Kind   string // of supervisor.EventKind
		N      int
		Since  time.Time // of the restart or the stop; may be zero
		Left   int
		Cut    int
		Reason string
		After  time.Duration // of "reviving": when
	}
	// Decided ends restart N: the new generation serves, or it failed.
	Decided struct {
		N  int
		OK bool
	}
	// Recovered says that N, which is what served before a restart that failed,
	// serves again.
	Recovered struct{ N int }
	// End ends the instance.
	End struct {
		Code   int
		Reason string // how the generation that served last ended
		// LastCall is the last call of it that was seen to fail, if it never
		// served.
		LastCall string
	}
)

func (Prepare) action()        {}
func (Launch) action()         {}
func (Execute) action()        {}
func (ReviveAfter) action()    {}
func (Quiesce) action()        {}
func (Resume) action()         {}
func (Settled) action()        {}
func (Admit) action()          {}
func (Drain) action()          {}
func (Signal) action()         {}
func (Kill) action()           {}
func (CheckListening) action() {}
func (SetTimer) action()       {}
func (ClearTimer) action()     {}
func (Forget) action()         {}
func (Report) action()         {}
func (Decided) action()        {}
func (Recovered) action()      {}
func (End) action()            {}
