package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/internal/fault"
	"hupt/stage2"
	"hupt/tracer"
)

// Mode is in which order a restart goes about things: see generation.Mode.
type Mode string

// The modes.
const (
	StartFirst Mode = "start-first"
	StopFirst  Mode = "stop-first"
	Exec       Mode = "exec"
)

func (m Mode) policy() generation.Mode {
	switch m {
	case StopFirst:
		return generation.StopFirst
	case Exec:
		return generation.Exec
	}
	return generation.StartFirst
}

// before is what served before a restart in which it had to go first.
type before struct {
	program *program
	path    string
	file    *file
}

func (g *gen) before() *before { return &before{program: g.program, path: g.path, file: g.file} }

// file is the file of a program that was executed, kept open so that it can be
// executed again when its name leads to something else.
type file struct {
	*os.File // O_PATH; nil once it is closed
	stat     unix.Stat_t
}

// keepFile keeps the file that generation g executes, if it is a program by
// itself: of a script, the interpreter is what the kernel has executed, and the
// script is read by its name.
func (g *gen) keepFile() {
	opened := g.traced.Executable
	if opened == nil {
		return
	}
	f := &file{File: opened}
	if unix.Fstat(int(opened.Fd()), &f.stat) != nil {
		opened.Close()
		return
	}
	g.file = f
}

// same reports whether st is of this file, as it was.
func (f *file) same(st *unix.Stat_t) bool {
	return f.stat.Dev == st.Dev && f.stat.Ino == st.Ino && f.stat.Mtim == st.Mtim && f.stat.Size == st.Size
}

func (f *file) close() {
	if f != nil && f.File != nil {
		f.Close()
		f.File = nil
	}
}

// choose says what to execute at the n-th attempt to start b again. Its name may
// lead to the new version by now, which has just failed: then it is the file
// that was kept, and at every second attempt what the name leads to, since
// somebody may have put something better there. clean is for after the launch.
func (b *before) choose(spec *stage2.Spec, n int) (clean func()) {
	clean = func() {}
	if b.file == nil || b.file.File == nil {
		return clean
	}
	path, err := stage2.Lookup(b.program.command[0], b.program.env, b.program.dir)
	if !strings.HasPrefix(path, "/") {
		path = filepath.Join(b.program.dir, path)
	}
	var st unix.Stat_t
	if err == nil && unix.Stat(path, &st) == nil && (b.file.same(&st) || n%2 == 0) {
		return clean
	}
	self := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), b.file.Fd())
	// It may have another name: releases stay for a while.
	if path, err := os.Readlink(self); err == nil && unix.Stat(path, &st) == nil && b.file.same(&st) {
		spec.File = path
		return clean
	}
	// By a link of its own name: the kernel calls the process by the last part
	// of the path that was executed (comm, proc_pid_comm(5)).
	spec.File = self
	if dir, err := os.MkdirTemp("", "hupt-before-"); err == nil {
		clean = func() { os.RemoveAll(dir) }
		link := filepath.Join(dir, filepath.Base(b.path))
		if os.Symlink(self, link) == nil {
			spec.File = link
		}
	}
	return clean
}

// execute makes the process of a generation that has drained execute the program
// of the next one, once it is alone.
func (s *Supervisor) execute(a generation.Execute) {
	g, old := s.gens[a.N], s.gens[a.Old]
	h := s.handoverTo(a.N)
	g.started = time.Now()
	spec, err := s.spec(g)
	if err != nil {
		s.step(generation.ExecuteFailed{N: a.N, Reason: err.Error()})
		return
	}
	pid := old.main
	s.beside(func() {
		asides, err := moveAside(s.cfg.Unlink, a.N)
		offered, addresses := s.tracer.Offered(h.held)
		if err == nil {
			err = s.endOthers(old, pid)
		}
		var traced *tracer.Generation
		if err == nil {
			fault.Point("execute")
			traced, err = s.tracer.Execute(old.traced, pid, a.N, spec, h.held)
		} else {
			s.tracer.Release(old.traced, pid)
		}
		s.call(func() {
			h.asides = asides
			if h.decided { // the instance was told to stop meanwhile
				h.decideAsides()
			}
			if err != nil {
				s.step(generation.ExecuteFailed{N: a.N, Reason: mapLaunchError(err).Error()})
				return
			}
			g.traced = traced
			s.begun(g)
			s.step(generation.Executed{N: a.N, Old: a.Old, Offered: offered, Addresses: addresses})
			s.tellEarly(g)
		})
	})
}

// endOthers stops process pid of g where it is, so that it does not start new
// ones, and ends all others of g: by the stop signal, and by SIGKILL for those
// that outlive it.
func (s *Supervisor) endOthers(g *gen, pid int) error {
	s.tracer.Continue(g.traced)
	s.tracer.Keep(g.traced, pid)
	sig := s.cfg.StopSignal
	for deadline := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		others := slices.DeleteFunc(s.tracer.Pids(g.traced), func(p int) bool { return p == pid })
		switch {
		case len(others) == 0:
			return nil
		case time.Now().Before(deadline):
			continue
		case sig == 0:
			return fmt.Errorf("process %d does not end", others[0])
		}
		s.tracer.SignalOthers(g.traced, pid, sig)
		deadline = time.Now().Add(s.cfg.KillAfter)
		if sig == unix.SIGKILL {
			sig, deadline = 0, time.Now().Add(killTime)
		} else {
			sig = unix.SIGKILL
		}
	}
}

// killTime is how long a process may take to end by SIGKILL: it may have much
// memory to give back, or be in an uninterruptible sleep.
const killTime = 10 * time.Second

// recovered: what served before serves again. The sockets have passed to it.
func (s *Supervisor) recovered() {
	if n := len(s.handovers); n > 0 {
		h := s.handovers[n-1]
		h.decided, h.ok = true, true
		if g := s.gens[h.next]; g != nil {
			s.tracer.Share(g.traced)
		}
		h.decideAsides()
	}
	s.mayCloseHeld()
}

// release closes a file of a program if nobody may have to execute it again.
func (s *Supervisor) release(f *file) {
	for _, g := range s.gens {
		if g.file == f {
			return
		}
	}
	for _, h := range s.handovers {
		if h.before != nil && h.before.file == f {
			return
		}
	}
	f.close()
}
