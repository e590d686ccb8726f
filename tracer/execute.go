package tracer

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/stage2"
)

// A program that is to keep its pid is executed by the process of the one before
// it: execve(2) is injected into that, once it has drained. The filter, the
// tracer and the pid stay.
//
// What must be so before the execve is undone if it fails, and the old program
// goes on: the directory, close-on-exec on all that is not to survive, limits.
// All else that survives an execve is set right afterwards, before the first
// instruction of the new program, when nothing can fail any more.

// Keep stops process pid of g, and keeps it so until Execute or Release: the
// other processes of g are to be ended, and it must not answer that by new ones.
func (t *Tracer) Keep(g *Generation, pid int) {
	t.Do(func() {
		if p := g.procs[pid]; p != nil {
			t.freeze(p, freezeTimeout)
			p.kept = true
		}
	})
}

// Release lets a process go on that was kept.
func (t *Tracer) Release(g *Generation, pid int) {
	t.Do(func() {
		if p := g.procs[pid]; p != nil {
			p.kept = false
			t.thaw(p)
		}
	})
}

// SignalOthers sends sig to every process of g but pid.
func (t *Tracer) SignalOthers(g *Generation, pid int, sig unix.Signal) {
	t.Do(func() {
		for other := range g.procs {
			if other != pid {
				unix.Kill(other, sig)
			}
		}
	})
}

// Execute makes process pid of g, which is kept, execute a program, as the first
// process of a new generation to which the held sockets are offered. If it
// fails, the process goes on where it was.
func (t *Tracer) Execute(g *Generation, pid, number int, spec stage2.Spec, held []*Held) (next *Generation, err error) {
	t.Do(func() {
		p := g.procs[pid]
		if p == nil {
			err = errGone
			return
		}
		defer func() {
			if err != nil && g.procs[pid] == p {
				p.kept = false
				t.thaw(p)
			}
		}()
		k := p.tasks[pid]
		if k == nil || !k.frozen {
			// Its first thread has ended, and another one takes its place.
			if k = t.injector(p); k == nil {
				err = errNotFrozen
				return
			}
		}
		next = newGeneration(number, len(spec.Command), g.notes, held)
		next.guarded = g.guarded || p.guarded
		err = t.execute(k, next, spec)
	})
	return next, err
}

func (t *Tracer) execute(k *task, next *Generation, spec stage2.Spec) error {
	i, err := t.injectAtStop(k)
	if err != nil {
		if i != nil {
			i.endAtStop()
		}
		return err
	}
	i.hideListeners(next.connects())
	x := &execution{injection: i, spec: spec, pid: k.proc.pid, mask: i.mask}
	if err := x.run(); err != nil {
		if !errors.Is(err, errGone) && !errors.Is(err, unix.ESRCH) {
			x.undo() // nothing of it, if a call does not end
			i.endAtStop()
		}
		return err
	}
	x.pass(next)
	x.setRight()
	t.inherit(next)
	t.tell(Note{Kind: NoteExec, Generation: next, PID: x.pid})
	t.resume(i.k, 0)
	return nil
}

// execution is one execve that is injected.
type execution struct {
	*injection
	spec  stage2.Spec
	pid   int
	path  string
	mask  uint64   // of the thread, before
	undos []func() // what to do if it fails, the last first
}

func (x *execution) undo() {
	for n := len(x.undos) - 1; n >= 0; n-- {
		x.undos[n]()
	}
}

// run makes the task execute the program.
func (x *execution) run() error {
	path, err := stage2.Lookup(x.spec.Command[0], x.spec.Env, x.spec.Dir)
	if err != nil {
		return &LaunchError{Step: "lookup", Path: path, Errno: errnoOf(err), Err: err}
	}
	x.path = path
	var args execArgs
	dir := x.spec.Dir
	if dir == "" {
		dir = fmt.Sprintf("/proc/%d/cwd", os.Getpid())
	}
	atDir, atPath := args.add(dir), args.add(path)
	argv, env := args.addAll(x.spec.Command), args.addAll(x.spec.Environ(x.pid))
	// A script without #! is the shell's, as with execvp(3).
	atShell := args.add("/bin/sh")
	shellArgv := args.addAll(append([]string{"sh", path}, x.spec.Command[1:]...))
	base, err := args.bring(x.injection)
	if err != nil {
		return err
	}
	x.undos = append(x.undos, func() { x.call("munmap", unix.SYS_MUNMAP, base, args.size()) })
	if err := x.chdir(base + atDir); err != nil {
		return err
	}
	if err := x.closeOnExec(); err != nil {
		return err
	}
	x.setLimits()
	err = x.execve(base+atPath, base+args.at(argv), base+args.at(env))
	if err == unix.ENOEXEC {
		err = x.execve(base+atShell, base+args.at(shellArgv), base+args.at(env))
	}
	if errno, ok := err.(unix.Errno); ok {
		return &LaunchError{Step: "execve", Path: path, Errno: errno, Err: errno}
	}
	return err
}

func errnoOf(err error) unix.Errno {
	var e unix.Errno
	errors.As(err, &e)
	return e
}

// chdir goes to the directory whose path is at addr.
func (x *execution) chdir(addr uint64) error {
	dot, err := x.put(atData, []byte(".\x00"))
	if err != nil {
		return err
	}
	// In a full table, there is no way back but by name.
	was, err := x.call("openat", unix.SYS_OPENAT, atFDCWD, dot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		x.undos = append(x.undos, func() {
			x.call("fchdir", unix.SYS_FCHDIR, uint64(was))
			x.call("close", unix.SYS_CLOSE, uint64(was))
		})
	}
	_, err = x.call("chdir", unix.SYS_CHDIR, addr)
	return err
}

// atFDCWD is AT_FDCWD as a register holds it.
const atFDCWD = ^uint64(99)

// closeOnExec makes every descriptor but the first three close on exec: what is
// to be inherited is brought anew.
func (x *execution) closeOnExec() error {
	tid := fdtable.Reader(x.pid)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", tid))
	if err != nil {
		return err
	}
	var stay []int
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if f, err := fdtable.Flags(tid, fd); err == nil && !f.CloseOnExec {
			stay = append(stay, fd)
		}
	}
	x.undos = append(x.undos, func() {
		for _, fd := range stay {
			x.call("fcntl", unix.SYS_FCNTL, uint64(fd), unix.F_SETFD, 0)
		}
	})
	const last = uint64(^uint32(0))
	_, err = x.call("close_range", unix.SYS_CLOSE_RANGE, 3, last, unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // before Linux 5.11
		for _, fd := range stay {
			if _, err := x.call("fcntl", unix.SYS_FCNTL, uint64(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
				return err
			}
		}
		err = nil
	}
	return err
}

// setLimits gives the limits back that the program was started with. One that
// it lowered for good stays so, unless hupt may raise it.
func (x *execution) setLimits() {
	for r, l := range x.t.origin.limits {
		var was unix.Rlimit
		if unix.Prlimit(x.pid, r, nil, &was) != nil || was == l {
			continue
		}
		if unix.Prlimit(x.pid, r, &l, nil) != nil {
			soft := unix.Rlimit{Cur: min(l.Cur, was.Max), Max: was.Max}
			unix.Prlimit(x.pid, r, &soft, nil)
		}
		x.undos = append(x.undos, func() { unix.Prlimit(x.pid, r, &was, nil) })
	}
}

// execve makes the call. The error is an errno if the program goes on.
func (x *execution) execve(path, argv, env uint64) error {
	t := x.t
	r := x.saved
	setCall(&r, x.pc, unix.SYS_EXECVE, [6]uint64{path, argv, env})
	if err := setRegisters(x.k.tid, r); err != nil {
		return err
	}
	if err := contToSyscall(x.k.tid, 0); err != nil {
		return err
	}
	t.injected++
	began := time.Now()
	alarm := time.AfterFunc(executeLimit, t.ring)
	defer alarm.Stop()
	for {
		// The other threads end, and the execve waits until somebody has waited
		// for them: so everybody's news are taken.
		tid, ws, err := t.takeNews(0)
		t.dog.progress()
		if took := time.Since(began); took > executeLimit {
			// There is no way back from here, and nothing to wait for.
			unix.Kill(x.pid, unix.SIGKILL)
			if took > executeLimit+callLimit {
				return errGone
			}
			alarm.Reset(callLimit + time.Millisecond)
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return errGone
		}
		s := decode(ws)
		if tid != x.k.tid && !(tid == x.pid && s.kind == stopExec) {
			t.handle(tid, ws)
			if t.procs[x.pid] == nil {
				return errGone
			}
			continue
		}
		var sig unix.Signal
		switch s.kind {
		case stopExec:
			return nil
		case stopExited, stopKilled:
			t.handle(tid, ws)
			return errGone
		case stopSyscall:
			si, err := getSyscallInfo(tid)
			if err == nil && si.Op == opExit {
				return unix.Errno(-int64(si.Nr))
			}
		case stopSignal:
			sig = s.signal
		case stopEvent, stopGroup:
			x.stopped = true
		}
		if err := contToSyscall(tid, sig); err != nil {
			return errGone
		}
	}
}

// pass makes the process the new generation's.
func (x *execution) pass(next *Generation) {
	t, k := x.t, x.k
	p := k.proc
	for tid := range p.tasks {
		delete(t.tasks, tid)
	}
	*k = task{tid: x.pid, proc: p}
	p.tasks = map[int]*task{x.pid: k}
	t.tasks[x.pid] = k
	delete(p.gen.procs, x.pid)
	p.gen = next
	p.freezes = 0
	p.frozen, p.kept, p.stepping, p.goKnown, p.atAccept, p.poked = false, false, false, unknown, nil, nil
	next.procs[x.pid] = p
	next.Root, next.Path = x.pid, x.path
	next.begin(x.pid)
	x.scratch = 0 // that was the old program's
	t.generations = append(t.generations, next)
	t.stops["exec"]++
}
