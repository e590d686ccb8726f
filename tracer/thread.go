package tracer

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/internal/fault"
	"hupt/stage2"
)

// Tracer owns the one OS thread that traces. ptrace(2) ties a tracee to the
// thread that seized it: everything about tracees happens on that thread, in
// closures that Do sends it.
//
// The thread waits for all children of the process, so that it reaps orphans
// that were re-parented to hupt, too. Nothing else in the process may wait for
// children, os/exec included.
type Tracer struct {
	bell  atomic.Int64 // the doorbell's pid
	calls struct {
		sync.Mutex
		queue []func()
	}
	*notes // of the generations that were not launched by a Branch

	// Below: the tracer's thread only.
	tasks       map[int]*task
	procs       map[int]*process
	births      uint64 // processes so far
	generations []*Generation
	strays      map[int]unix.WaitStatus   // stops of tasks whose generation is not known yet
	zeroBinds   map[uint64]netip.AddrPort // by inode, what a bind that asked for port 0 was given
	portZero    map[uint64]bool           // those of them that listen
	held        []*Held                   // every one that was taken; closed ones are forgotten at the next snapshot
	files       map[uint64]*socketFile    // of Unix sockets bound to a path, by the socket's inode
	filesLimit  int                       // how many, before the stale ones are forgotten
	shunned     map[uint64]*Held          // by inode, sockets that get nothing new of their group
	bound       map[uint64]bool           // by inode, internet sockets that somebody bound, of datagrams at least
	missed      map[uint64]int            // how many dumps in a row did not show a socket that is remembered
	lent        map[uint64]bool           // datagram sockets that hupt gave SO_REUSEPORT
	chosen      map[Name][]int            // of groups with such, the places of the others
	stops       map[string]uint64
	last        lastStops
	mishaps     int // panics at stops
	onPanic     func(p *Panic, fatal bool)
	injected    uint64
	restartSig  unix.Signal
	reusePort   bool
	byWord      bool
	catches     bool
	helpers     map[int]func(unix.WaitStatus)
	binding     map[Name]*task    // who is about to bind what others may share
	unlinking   map[*task]bool    // who is about to take a path away, with reusePort
	shared      map[Name]uint64   // inodes of sockets that others may share, with reusePort
	ended       map[int]time.Time // processes that ended of late
	options     uintptr           // with which generations are seized
	inherits    []int             // hupt's descriptors that programs inherit
	origin      *origin           // how the first program was started; nil: not yet
	putOff      []news            // statuses that came while another task's was waited for, or with one
	sinceSweep  int               // statuses since all that waited were collected
	rang        bool              // the doorbell did, while they were
	dog         watchdog
	filters     int // seccomp filters that hupt itself is under
}

// Options are what a Tracer is told when it begins.
type Options struct {
	// RestartSignal, when somebody outside sends it to the program, is kept
	// from it and told as NoteRestartSignal. 0: none is.
	RestartSignal unix.Signal
	// KillAtExit: what is traced is killed when the tracer's process ends.
	KillAtExit bool
	// Catch: a socket is taken hold of when a generation begins to listen on
	// it, for Caught.
	Catch bool

	// ByWord: a generation serves when it says so, be it before it waits on what it
	// listens on.
	ByWord bool

	// OnPanic hears of a fault of hupt's own at a stop, on a goroutine of its own.
	// The task that stopped went on; fatal: the tracer is not to be trusted any
	// more. May be nil.
	OnPanic func(p *Panic, fatal bool)

	// ReusePort: generations of different branches that bind the same name
	// share one socket, and sockets get SO_REUSEPORT before they are bound
	// (socket(7), Linux 3.9), so that other instances can have the port, too.
	ReusePort bool
}

// ErrForbidden is what New and Launch answer where the kernel does not let us
// trace.
var ErrForbidden = errors.New("ptrace is forbidden")

// one: two tracers in a process would wait for each other's children.
var one atomic.Bool

// New starts the tracer's thread and its doorbell. A process has at most one
// Tracer, for as long as it lives.
func New(o Options) (*Tracer, error) {
	if one.Swap(true) {
		return nil, errors.New("this process has a tracer already")
	}
	t := &Tracer{
		notes:      newNotes(),
		tasks:      make(map[int]*task),
		procs:      make(map[int]*process),
		strays:     make(map[int]unix.WaitStatus),
		zeroBinds:  make(map[uint64]netip.AddrPort),
		helpers:    make(map[int]func(unix.WaitStatus)),
		ended:      make(map[int]time.Time),
		files:      make(map[uint64]*socketFile),
		filesLimit: filesLimit,
		portZero:   make(map[uint64]bool),
		shunned:    make(map[uint64]*Held),
		bound:      make(map[uint64]bool),
		missed:     make(map[uint64]int),
		lent:       make(map[uint64]bool),
		chosen:     make(map[Name][]int),
		stops:      make(map[string]uint64),
		restartSig: o.RestartSignal,
		reusePort:  o.ReusePort,
		byWord:     o.ByWord,
		catches:    o.Catch,
		binding:    make(map[Name]*task),
		unlinking:  make(map[*task]bool),
		shared:     make(map[Name]uint64),
		inherits:   inheritedFDs(),
		filters:    filters(os.Getpid()),
		options:    options,
		onPanic:    o.OnPanic,
	}
	if o.KillAtExit {
		t.options |= unix.PTRACE_O_EXITKILL
	}
	started := make(chan error)
	go t.run(started)
	return t, <-started
}

// run is the thread. It never unlocks and never returns while tracees live: a
// goroutine that ends locked takes its thread along, and the tracees go free.
func (t *Tracer) run(started chan<- error) {
	runtime.LockOSThread()
	t.dog.tid.Store(int64(unix.Gettid()))
	err := t.hangBell()
	started <- err
	if err != nil {
		return
	}
	go t.dog.run()
	for {
		t.drainCalls()
		t.next(0)
	}
}

// hangBell starts the doorbell: a tracee that does nothing. A signal to it is
// the only thing that wakes a blocked wait4 without a race, since Go installs
// its handlers with SA_RESTART: 31 µs, where SIGCHLD and polling take 70 a stop.
func (t *Tracer) hangBell() error {
	pid, err := syscall.ForkExec("/proc/self/exe", []string{stage2.DoorbellArg0}, &syscall.ProcAttr{
		Files: []uintptr{},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return fmt.Errorf("start the doorbell: %w", err)
	}
	if err := seizeBell(pid); err != nil {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, unix.WALL, nil)
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	t.bell.Store(int64(pid))
	return nil
}

// ring is for the doorbell's first thread, which alone is traced: the kernel
// gives a signal to the process to whichever thread is free to take it.
func (t *Tracer) ring() {
	bell := int(t.bell.Load())
	unix.Tgkill(bell, bell, unix.SIGUSR1)
}

// Do runs f on the tracer's thread and waits for it. It must not be called
// from that thread. If f panics, so does Do, with a *Panic: the thread goes on.
func (t *Tracer) Do(f func()) {
	done := make(chan struct{})
	var failed *Panic
	t.calls.Lock()
	t.calls.queue = append(t.calls.queue, func() {
		defer close(done)
		defer func() { failed = t.panicked(recover()) }()
		fault.Point("call")
		f()
	})
	t.calls.Unlock()
	t.ring()
	<-done
	if failed != nil {
		panic(failed)
	}
}

func (t *Tracer) drainCalls() {
	for {
		t.calls.Lock()
		q := t.calls.queue
		t.calls.queue = nil
		t.calls.Unlock()
		if len(q) == 0 {
			return
		}
		for _, f := range q {
			t.dog.progress()
			f()
		}
	}
}

// next waits for one child and handles what it tells. With WNOHANG it returns
// false if there is nothing.
func (t *Tracer) next(flags int) bool {
	t.dog.idle()
	pid, ws, err := t.takeNews(flags)
	t.dog.progress()
	switch {
	case err == unix.EINTR:
		return true
	case err != nil || pid == 0:
		return false
	default:
		t.handleSafely(pid, ws)
	}
	return true
}

// handle is for a status of whatever child it is.
func (t *Tracer) handle(pid int, ws unix.WaitStatus) {
	if pid == int(t.bell.Load()) {
		t.answerBell(ws)
		return
	}
	t.dispatch(pid, ws)
}

func (t *Tracer) answerBell(ws unix.WaitStatus) {
	if ws.Exited() || ws.Signaled() {
		// Somebody killed the doorbell. Without it, calls would wait for the
		// next stop of a tracee, for ever on a quiet server.
		if err := t.hangBell(); err != nil {
			fmt.Fprintln(os.Stderr, "hupt: the doorbell was killed and can't be replaced:", err)
		}
		return
	}
	// Every signal to it is swallowed: SIGUSR1 was for us, and one to the whole
	// group or cgroup must not take it away. A group-stop is left at once.
	cont(int(t.bell.Load()), 0)
}

// pump handles what children tell until done says so or the time is up, and
// reports which. Calls wait meanwhile.
func (t *Tracer) pump(timeout time.Duration, done func() bool) bool {
	deadline := time.Now().Add(timeout)
	timer := time.AfterFunc(timeout, t.ring)
	defer timer.Stop()
	for !done() {
		if !time.Now().Before(deadline) {
			return false
		}
		t.next(0)
	}
	return true
}
