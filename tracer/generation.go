package tracer

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Generation is one launch of the program and all its descendants. Its fields
// belong to the tracer's thread, but for Number, Root, Path, Executable and
// NoNewPrivs, which never change once Launch returned.
type Generation struct {
	Number     int
	Root       int    // its first process
	Path       string // that was executed
	NoNewPrivs bool   // had to be set to load the filter

	// Executable is the file that the kernel executed first, opened with O_PATH;
	// nil if that was a script's interpreter, or can't be told. It is the caller's
	// to close.
	Executable *os.File

	notes    *notes // where what happens to it is told
	procs    map[int]*process
	launched time.Time
	words    int           // of the command that it is to execute
	begun    bool          // it executed the program
	told     atomic.Bool   // stage 2 runs, and may know what to execute
	first    chan struct{} // closed then, or at the end of its first process
	killed   bool          // whatever it still bears is killed at birth

	forgotten bool            // nobody asks for it any more, though some of it may live
	caught    []*Held         // of what it listens on, what nobody has asked for yet (see catch)
	offers    []*offer        // held sockets that its binds may get
	addresses int             // that these have, by which the generation before served
	joined    []*Held         // sockets of its own that are shunned in groups of held ones
	listening map[uint64]bool // inodes on which it called listen()
	inherited map[uint64]bool // inodes of offered sockets that it had open at its start
	waiting   map[uint64]bool // those on which some task waits for connections
	acceptors map[uint64]bool // of waiting: those on which the first wait was an accept()
	others    map[uint64]bool // of listening: those that are another user's (see bounds.go)
	user      uint32          // effective, of its first process, when isOther last looked
	hungUp    bool            // a restart signal to another user's process was kept from it, which was told
	full      bool            // more of it is not held than there is room for, which was told
	gathers   map[uint64]bool // Unix datagram sockets that it bound before it served; true: some task waited on it
	looks     bool            // whether it has what it listens on is to be looked at again (see closed.go)
	watching  bool            // its tasks stop at every system call, until they wait on what they listen on
	guarded   bool            // it was launched with traps for what takes a path away
	opened    bool            // it has come to listen on something since it was last looked at
	settled   bool            // it serves: a bind's result is nobody's concern any more

	quiesced bool
	lets     []*Held          // that it was quiesced on, and nobody may have been offered yet
	conns    map[uint64]*conn // while it drains, its accepted connections by inode (see SayClose)
	held     holding
	answered time.Time         // when it last sent on the dummy of a Unix datagram socket
	dummies  map[uint64]*dummy // by the inode of the held socket that each stands in for
}

// offer is a held socket offered to a generation.
type offer struct {
	held    *Held
	taken   bool // some bind of the generation got it
	closed  bool // and it has it no more, and never waited on it
	address int  // the number, from 1, of the address by which it is served; 0: none
	// nonBlock is the O_NONBLOCK that the generation wants for it, if that is known
	// (see nonblock.go).
	nonBlock, known bool
	own             int // hupt's descriptor for as long as that can't be set; else 0
	will            *will
	common          bool // it is shared with processes of the same version, and so is all that is set
	// wants is what the bind would have given the socket's file, and changed when
	// that was last changed before.
	wants   fileMode
	changed unix.Timespec
}

// Held is a listening or bound datagram socket of which hupt keeps a duplicate
// of its own, so that its queue outlives every process of the program.
type Held struct {
	FD       int // hupt's duplicate
	Inode    uint64
	Name     Name
	PortZero bool // it was bound by asking for port 0

	address string // where clients come to, in words; empty: it is the program's own (see addresses.go)

	file     *socketFile // of a Unix socket with a path
	nonBlock bool        // its O_NONBLOCK when it was taken
	backlog  int         // of its listen()
	owner    uint32      // the user whose it is
	other    bool        // that is another user (see bounds.go)
	widened  bool        // it has a larger one for now
	twin     *making     // what is to stand in for it; nil: that was not begun
	of       *Generation // that had it when it was taken
	goes     bool        // the generation that has it goes before anybody could adopt it
	adopted  bool        // some bind of the next generation got it
	awaited  bool        // of a datagram socket: it is a server's (see isAwaited)
	idle     bool        // the generation before had its time and never waited on it: a lock, say
	deaf     bool        // it is a dummy's, and drops what comes to it
	shared   bool        // of a datagram socket: it can't have a dummy
	had      *had        // before the next generation set anything
	device   []byte      // of a datagram socket: that it is to be bound to once it has no dummy; nil: as it is
	last     time.Time   // when a program last adopted it, or listened on it
	kept     bool        // it is for whatever comes after the generation that serves, however that ends
	refused  bool        // somebody was not given it, which was told
	surplus  bool        // the next generation has others of its group, and no use for it
}

// counts reports whether a generation that does not adopt it has something left
// to do: a datagram socket on which nobody waits is only ever sent from.
func (h *Held) counts() bool { return h.awaited || !h.Name.Datagram() }

// Offered is how many of the held sockets a generation that is offered them is
// expected to adopt, and by how many addresses the one before served.
func (t *Tracer) Offered(held []*Held) (n, addresses int) {
	t.Do(func() {
		names := make(map[Name]bool)
		for _, h := range held {
			if h.FD >= 0 && h.counts() {
				n++
			}
			if h.FD >= 0 && h.address != "" {
				names[h.Name] = true
			}
		}
		addresses = len(names)
	})
	return n, addresses
}

// Progress is how far a new generation is on its way to serving.
type Progress struct {
	Offered   int // held sockets that it could adopt
	Adopted   int // that it did
	Listening int // sockets on which it called listen(), adopted or new
	Waiting   int // of those, sockets on which it waits for connections

	Addresses int    // by which the generation before served
	Kept      int    // of these, those that it took over
	LetGo     string // the others, in words
}

func (g *Generation) progress() (p Progress) {
	others := 0
	for inode := range g.listening {
		if g.others[inode] {
			others++
		}
	}
	// What a child of another user does holds nobody up, unless it is all there is.
	apart := others < len(g.listening)
	for inode := range g.listening {
		if apart && g.others[inode] {
			continue
		}
		p.Listening++
		if g.waiting[inode] {
			p.Waiting++
		}
	}
	for _, o := range g.offers {
		if !o.held.counts() || o.closed || o.held.FD < 0 && !o.taken || apart && (o.held.other || g.others[o.held.Inode]) {
			continue
		}
		p.Offered++
		if o.taken {
			p.Adopted++
		}
	}
	kept, letGo := g.kept()
	p.Addresses, p.Kept, p.LetGo = g.addresses, kept, inWords(letGo)
	return p
}

// pending: it listens on something, or inherited something, that it does not
// wait on yet.
func (g *Generation) pending() bool {
	for inode := range g.inherited {
		if !g.waiting[inode] {
			return true
		}
	}
	for _, waited := range g.gathers {
		if !waited {
			return true
		}
	}
	// Those that it did not adopt yet, it may adopt or fail to: till then it
	// must not accept on the others (see holdAccept).
	p := g.progress()
	if g.held == holdsSome || g.held == holdsNobody && p.Adopted > 0 && p.Adopted < p.Offered {
		return true
	}
	return len(g.waiting) < len(g.listening) || g.differs()
}

// NoteKind says what a Note tells.
type NoteKind int

// What the tracer tells the supervisor.
const (
	NoteExec          NoteKind = iota // a process of it executed a program
	NoteAdopted                       // a bind got a held socket: Name
	NoteProgress                      // Progress changed
	NoteListened                      // one that serves is about to listen on something more
	NoteFailedCall                    // a call that hupt watches failed: Text
	NoteWarning                       // something to know: Text
	NoteExit                          // a process ended: PID, Status; Last: none is left
	NoteRestartSignal                 // the restart signal came to the program, and was kept from it
	NoteOutsideSignal                 // the program got Signal from the terminal, or from a process that is neither its own nor hupt
	NoteGroupStop                     // the first process was stopped by job control: Signal
	NoteContinued                     // …and goes on
)

// Note is one thing that the tracer saw.
type Note struct {
	Kind       NoteKind
	Generation *Generation
	PID        int
	Status     unix.WaitStatus
	Last       bool
	Signal     unix.Signal
	Sender     int        // of NoteRestartSignal: who sent it, by our pid namespace; 0: not known
	Kernel     bool       // of NoteOutsideSignal: from the terminal
	Name       Name       // of NoteAdopted, and of the bind of a NoteFailedCall
	Errno      unix.Errno // of NoteFailedCall
	Progress   Progress
	Text       string
}
