package tracer

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// A call that hupt makes in a program is made on what the program has, and that
// may be made to block: the close of a connection with SO_LINGER (socket(7)),
// which a dup3 over it is, too; a file system in user space (fuse(4)). So no wait
// for one is without an end. First it is broken off, as a signal would do it; a
// call that does not heed that is left behind (see leave).
const (
	// callGrace is how long a call may take until it is broken off. Those that
	// are made take microseconds; an interrupt that comes too soon, on a machine
	// that stands still, does no harm to them.
	callGrace = 200 * time.Millisecond

	// callLimit is how long hupt waits for it at all.
	callLimit = 3 * time.Second

	// executeLimit is how long an execve may take, with a file that is read from
	// far away, until its process is killed.
	executeLimit = 30 * time.Second
)

// errStuck: a call does not end. Its task goes on by itself when it does.
var errStuck = errors.New("a system call in the program does not end; what it waits for is told by /proc/PID/stack")

// errBrokenOff: a call had to be broken off.
var errBrokenOff = errors.New("a system call in the program blocked, and was broken off")

// news is a status that came while another task's was waited for.
type news struct {
	pid int
	ws  unix.WaitStatus
}

// sweepEvery is how many statuses are taken as the kernel gives them, until all
// that wait are collected: few stops have company, and a look that finds nothing
// goes through all children.
const sweepEvery = 32

// takeNews is one child's status, of those that were put off first. With WNOHANG
// pid is 0 if there is none, or with EINTR if the doorbell rang.
//
// A wait for any child gives the one that was traced last, of those that have
// something to tell (do_wait, Linux 6.18). Tasks that stop without end would keep all
// older ones from being heard, and hupt from a restart. So now and then all that
// stand are collected: each has its turn.
func (t *Tracer) takeNews(flags int) (pid int, ws unix.WaitStatus, err error) {
	if len(t.putOff) == 0 && t.sinceSweep >= sweepEvery {
		t.sweep()
	}
	if t.rang { // whoever did wants the thread to look at something before it waits
		t.rang = false
		return 0, 0, unix.EINTR
	}
	if len(t.putOff) > 0 {
		n := t.putOff[0]
		t.putOff = t.putOff[1:]
		return n.pid, n.ws, nil
	}
	t.sinceSweep++
	pid, err = unix.Wait4(-1, &ws, unix.WALL|flags, nil)
	return pid, ws, err
}

// sweep puts off whatever children have to tell now. There is an end to it: who
// stopped stays stopped. The doorbell is answered, so that it can ring again; that it
// rang is put off, too.
func (t *Tracer) sweep() {
	t.sinceSweep = 0
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || pid == 0:
			return
		case pid == int(t.bell.Load()):
			t.answerBell(ws)
			t.rang = true
		default:
			t.putOff = append(t.putOff, news{pid, ws})
		}
	}
}

// wait awaits the task's next stop. If it ended instead, that is dispatched.
// What others tell meanwhile is put off, so that one thing is done at a time.
func (i *injection) wait() (stop, error) {
	t, tid := i.t, i.k.tid
	began := time.Now()
	alarm := time.AfterFunc(callGrace, t.ring)
	defer alarm.Stop()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		t.dog.progress()
		switch {
		case err == unix.EINTR:
		case err != nil:
			return stop{}, errGone
		case pid == tid:
			s := decode(ws)
			if s.kind == stopExited || s.kind == stopKilled {
				t.dispatch(tid, ws)
				return s, errGone
			}
			return s, nil
		case pid == int(t.bell.Load()):
			t.answerBell(ws)
		default:
			t.putOff = append(t.putOff, news{pid, ws})
		}
		switch took := time.Since(began); {
		case took > callLimit:
			i.stuck = true
			return stop{}, errStuck
		case took >= callGrace:
			i.broken = true
			interrupt(tid)
			alarm.Reset(callGrace)
		}
	}
}

// leave lets a task be whose call does not end. It gets back what is its own, by
// ends, at the exit of that call; nil: it was at an EVENT_STOP, and is put there.
func (i *injection) leave(ends func()) error {
	i.k.left, i.ends = i, ends
	i.k.frozen = false
	return errStuck
}

// pickUp handles a stop of a task that was left in a call that hupt made. It
// reports false if the stop is none of that call's.
func (t *Tracer) pickUp(k *task, s stop) bool {
	i := k.left
	var sig unix.Signal
	switch s.kind {
	case stopExited, stopKilled:
		return false
	case stopSyscall:
		if si, err := getSyscallInfo(k.tid); err == nil && si.Op == opExit {
			i.end()
			return true
		}
	case stopSignal:
		sig = s.signal
	case stopEvent, stopGroup:
		i.stopped = true
	}
	contToSyscall(k.tid, sig)
	return true
}

// end is the end of an injection that had to be left.
func (i *injection) end() {
	k := i.k
	k.left, i.stuck = nil, false
	fds := i.over
	i.over = nil
	i.closeAll(fds)
	if i.ends != nil {
		i.ends()
		return
	}
	if err := i.endAtStop(); err != nil {
		return // it is dying, or was left again
	}
	if k.proc.frozen {
		k.frozen = true
		return
	}
	i.t.letGo(k)
}
