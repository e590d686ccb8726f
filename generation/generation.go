// Package generation is the policy of a restart: which generation serves, what
// is done about each, and when. It makes no system call and reads no clock:
// Step takes what happened and when, and says what to do. Timers are events.
//
// At any time one generation serves, at most one is starting, and any number
// drain or stop. The invariant: until a generation was seen to wait for
// connections, nothing is taken from the one before it; and until it has
// outlived its probation, the one before it can be resumed.
package generation

import (
	"time"
)

// Phase is where a generation stands.
type Phase int

// A good generation goes down this list.
const (
	Starting  Phase = iota // launched, not ready yet
	Quiescing              // ready; the generation before it is being quiesced
	Serving                // every new connection is its own
	Draining               // quiesced; has connections left, or must outlast its successor's probation
	Stopping               // was told to end
	Gone                   // has no process left
)

func (p Phase) String() string {
	return [...]string{"starting", "ready", "serving", "draining", "stopping", "gone"}[p]
}

// Policy is what can be chosen.
type Policy struct {
	ReadyTimeout time.Duration // from launch to ready
	DrainTimeout time.Duration // from quiesce to the hammer; negative: never
	KillAfter    time.Duration // from the stop signal to SIGKILL
	// BlindReady: waiting for connections can't be seen (io_uring), so a
	// generation that listens is ready once it settled.
	BlindReady bool
	Ready      Readiness

	// WaitChildren: what a main process leaves is waited for, not ended.
	WaitChildren bool

	Revive      Revive
	ReviveMax   int           // how often in a row; 0: as often as it takes
	ReviveDelay time.Duration // the second pause; the first is none
	ReviveReset time.Duration // one that served so long is not counted
}

// Readiness is what makes a new generation ready.
type Readiness int

// The kinds of readiness.
const (
	ByAccept Readiness = iota // it waits for connections on what it listens on
	ByWord                    // somebody said so: Told
	ByBoth
)

// Times that nobody needs to choose.
const (
	// Probation is how long a generation must live after the quiesce of the one
	// before, which is kept, quiesced, for so long.
	Probation = 500 * time.Millisecond
	// Settle is how long nothing new is bound or waited on before a generation
	// that adopted fewer sockets than were offered is taken at its word; and
	// how long one that listens on nothing must live.
	Settle = time.Second
	// FirstSettle is how long the first generation is watched for a wait on what
	// it listens on: a port that is only a lock is never waited on.
	FirstSettle = 5 * time.Second
)

// Progress is how far a starting generation is.
type Progress struct {
	Offered, Adopted, Listening, Waiting int

	Addresses int    // of the version before, by which it served
	Kept      int    // of these, taken over
	LetGo     string // the others, in words
}

// Gen is what is known of one generation.
type Gen struct {
	Number    int
	Phase     Phase
	Launched  time.Time
	Progress  Progress
	Left      int  // accepted connections
	Abandoned int  // those that are not waited for
	Hammered  bool // the drain's deadline came
	Failed    bool // it was ended because it did not become ready
	Exit      Exit // how its main process ended, once it has
	Exited    bool

	accepts bool      // it waits for connections, or has settled without
	told    bool      // it was said to be ready
	runs    bool      // its launch was heard of
	revived bool      // it was started because nothing served
	since   time.Time // it serves; zero: it never did
	first   bool      // it took over from nobody, and was not said to serve yet
	doubt   string    // why whoever was asked does not find it ready

	wanted     time.Time     // when the restart began that it is for
	timeout    time.Duration // from launch to ready
	launched   bool          // its Launch or Execute was said
	why        string        // it is given up
	began      time.Time     // of the restart or the stop that ends it
	mainGone   bool
	forced     bool // SIGKILL was sent
	drained    bool
	counted    bool   // Left is known
	settled    bool   // Settled was said
	moved      bool   // it was told of that it listens elsewhere
	orphans    bool   // its main process failed, or its descendants had their time to listen
	lastFailed string // the last call of it that was seen to fail
}

// Exit is how a process ended.
type Exit struct {
	Code   int    // as a shell tells it: 128+n for signal n
	Reason string // "exited with status 1", "was killed by SIGSEGV"
}

// Machine is the state of an instance.
type Machine struct {
	policy   Policy
	gens     []*Gen
	last     int       // number of the youngest generation
	restart  *restart  // in progress, or nil
	recovery *recovery // nothing serves, and what served before is started again; or nil
	serving  int       // number; 0: none
	rescue   int       // a generation that drained and is resumed, since its successor died
	previous int       // that could be resumed, while its successor is on probation
	stopping bool      // a stop was asked for
	code     int       // that the instance is to exit with
	reason   string    // why the last serving generation ended
	lastCall string    // of it that failed, if it never served
	ended    bool
	revival  revival

	Restarts  int
	Rollbacks int
	Cut       int
}

type restart struct {
	number  int // of the new generation
	old     int // of the one that it is to replace; 0: that has gone
	mode    Mode
	stage   stage // if the old one is to go first
	began   time.Time
	timeout time.Duration

	addresses Addresses
	listened  bool // the old one did, on whatever

	reason string // why it failed, while the old generation is being resumed
	// inherits: it took a recovery over. Nothing serves, and what is held is for it.
	inherits bool
}

// New is a machine before anything was launched.
func New(p Policy) *Machine { return &Machine{policy: p} }

// Gens lists the generations that have not gone, oldest first.
func (m *Machine) Gens() []*Gen { return m.gens }

// Gen is generation n, or nil if it has gone.
func (m *Machine) Gen(n int) *Gen {
	for _, g := range m.gens {
		if g.Number == n {
			return g
		}
	}
	return nil
}

// Final reports whether generation n drains for good: its successor is through
// its probation, so that it is wanted back only if that dies all the same.
func (m *Machine) Final(n int) bool {
	g := m.Gen(n)
	return g != nil && g.Phase == Draining && m.previous != n && m.rescue != n
}

// Awaited reports whether the next generation waits for generation n to end;
// exec: to execute its program in it.
func (m *Machine) Awaited(n int) (waits, exec bool) {
	r := m.restart
	waits = r != nil && r.old == n && r.mode != StartFirst
	return waits, waits && r.mode == Exec
}

// Serving is the number of the generation that serves; 0: none.
func (m *Machine) Serving() int { return m.serving }

// Next is the number that the next generation gets.
func (m *Machine) Next() int { return m.last + 1 }

// Recovering reports whether nothing serves, and what served before a restart
// that failed is started again.
func (m *Machine) Recovering() bool { return m.recovery != nil }

// Inherits reports whether nothing serves, and the restart that is to begin once an
// attempt to start again what served before is out of its way gets what that would have got.
func (m *Machine) Inherits() bool {
	r := m.restart
	if r == nil || !r.inherits {
		return false
	}
	g := m.Gen(r.number)
	return g == nil || !g.runs
}

// Rises is how long the first generation may still take to serve, as of now,
// before a restart that nobody waits for is begun beside it; 0: no longer. One that
// listens on nothing yet has as long as any to get ready; then it is taken for one
// that never will.
func (m *Machine) Rises(now time.Time) (left time.Duration, listens bool) {
	g := m.Gen(m.serving)
	if g == nil || !g.first {
		return 0, true
	}
	limit := FirstSettle
	if listens = g.Progress.Listening > 0; !listens {
		limit = m.policy.ReadyTimeout
	}
	return max(0, limit-now.Sub(g.Launched)), listens
}

// State is the instance's, in a word.
func (m *Machine) State() string {
	switch {
	case m.stopping:
		return "stopping"
	case m.restart != nil:
		return "restarting"
	case m.recovery != nil:
		return "recovering"
	case m.revival.due || m.reviving() != nil:
		return "reviving"
	}
	return "running"
}
