package tracer

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/stage2"
)

// LaunchError is why a generation could not be launched.
type LaunchError struct {
	Step  string // "fork", "seize", or that of stage2.Reply
	Path  string
	Errno syscall.Errno
	Err   error
}

func (e *LaunchError) Error() string {
	if e.Path != "" && e.Errno != 0 {
		return e.Path + ": " + e.Errno.Error()
	}
	return fmt.Sprintf("%s: %v", e.Step, e.Err)
}

func (e *LaunchError) Unwrap() error { return e.Err }

// Launch starts the next generation and returns once it executes its program,
// or with a LaunchError. The held sockets are what its binds may get.
func (t *Tracer) Launch(number int, spec stage2.Spec, held []*Held) (*Generation, error) {
	return t.launch(number, spec, held, t.notes)
}

func (t *Tracer) launch(number int, spec stage2.Spec, held []*Held, notes *notes) (*Generation, error) {
	g := newGeneration(number, len(spec.Command), notes, held)
	for _, h := range held {
		g.guarded = g.guarded || h.file != nil
	}
	g.guarded = g.guarded || t.reusePort // others have what it believes to be its own
	spec.GuardPaths = g.guarded
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &LaunchError{Step: "socketpair", Err: err}
	}
	sock := os.NewFile(uintptr(pair[0]), "stage 2")
	defer sock.Close()
	t.Do(func() {
		g.offers = slices.DeleteFunc(g.offers, func(o *offer) bool { return o.held.FD < 0 })
		for _, o := range g.offers {
			if o.held.kept { // another one had it since
				o.held.had = nil
			}
			if o.held.file != nil {
				t.fileFor(o.held) // it may have been renamed since it was taken
			}
		}
		spec.Connects = g.connects()
		if err = t.fork(g, pair[1]); err == nil {
			t.byPlace(g)
		}
	})
	unix.Close(pair[1])
	if err != nil {
		return nil, err
	}
	if err := g.converse(sock, spec); err != nil {
		return g, err
	}
	<-g.first // execve closes the socket before it stops
	return g, nil
}

func newGeneration(number, words int, notes *notes, held []*Held) *Generation {
	g := &Generation{
		Number:    number,
		notes:     notes,
		procs:     make(map[int]*process),
		listening: make(map[uint64]bool),
		waiting:   make(map[uint64]bool),
		gathers:   make(map[uint64]bool),
		others:    make(map[uint64]bool),
		acceptors: make(map[uint64]bool),
		inherited: make(map[uint64]bool),
		first:     make(chan struct{}),
		words:     words,
		launched:  time.Now(),
	}
	g.offered(held)
	return g
}

// fork starts stage 2 with its end of the socket, and seizes it before it is
// told what to do.
func (t *Tracer) fork(g *Generation, sock int) error {
	// Only this thread forks, so nobody else's child gets the descriptor while
	// it survives exec. It keeps its number: that is free in the program's
	// table, too, and closed again by the program's exec.
	unix.FcntlInt(uintptr(sock), unix.F_SETFD, 0)
	pid, err := syscall.ForkExec("/proc/self/exe", []string{stage2.Arg0, strconv.Itoa(sock)},
		&syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	unix.CloseOnExec(sock)
	if err != nil {
		return &LaunchError{Step: "fork", Err: err}
	}
	if err := seize(pid, t.options); err != nil {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, unix.WALL, nil)
		return &LaunchError{Step: "seize", Err: fmt.Errorf("%w: %w", ErrForbidden, err)}
	}
	g.Root = pid
	t.generations = append(t.generations, g)
	t.addTask(pid, pid, g, nil)
	return nil
}

// converse tells stage 2 what to do and hears how it went.
func (g *Generation) converse(sock io.ReadWriter, spec stage2.Spec) error {
	var begun [1]byte
	_, err := io.ReadFull(sock, begun[:])
	g.told.Store(true) // from here on, an execve is the program's, not stage 2's own
	if err == nil {
		err = gob.NewEncoder(sock).Encode(spec)
	}
	if err != nil {
		return &LaunchError{Step: "stage 2", Err: err}
	}
	dec := gob.NewDecoder(sock)
	for first := true; ; first = false {
		var r stage2.Reply
		err := dec.Decode(&r)
		switch {
		case err != nil && !first:
			return nil // execve closed the socket
		case err != nil:
			return &LaunchError{Step: "stage 2", Err: errors.New("it ended before it executed the program")}
		case r.Step != "":
			errno := syscall.Errno(r.Errno)
			return &LaunchError{Step: r.Step, Path: r.Path, Errno: errno, Err: fmt.Errorf("%s: %w", r.Message, errno)}
		}
		g.Path, g.NoNewPrivs = r.Path, r.NoNewPrivs
	}
}
