package tracer

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A program may signal its process group: `kill 0` in a shell's trap, killpg(3)
// at the end of a server. hupt is in that group, and so are all its generations.
// So such a call stops, and where the group has others in it than the caller's
// generation and strangers, the signal is sent to those one by one: by the task
// itself, so that the kernel decides what it may do, and the receiver sees who
// sent it. A signal to one process does not stop.

// everybody is the group of kill(-1): all but init and the caller.
const everybody = -1

// signalCall is the system call that signals one process, known to the caller by
// that number, in place of one that signals a group.
type signalCall func(number int) (nr int, args [6]uint64)

// onKill: the task is about to call kill(2) with 0 or a negative number.
func (t *Tracer) onKill(k *task, si syscallInfo) {
	to := int(int32(si.Args[0]))
	group := -to
	switch {
	case to == 0:
		group, _ = unix.Getpgid(k.proc.pid)
	case to > 0 || len(numbersOf(k.tid)) > 1:
		// In a PID namespace of the program's own the number is of a group that was
		// made there, and -1 is all that is there: nobody else's.
		t.resume(k, 0)
		return
	case to == -1:
		group = everybody
	default:
		group = t.groupMeant(k.proc.gen, group)
	}
	t.signalGroup(k, group, unix.Signal(int32(si.Args[1])), killCall(si.Args[1]))
}

func killCall(sig uint64) signalCall {
	return func(number int) (int, [6]uint64) { return unix.SYS_KILL, [6]uint64{uint64(number), sig} }
}

// pidfdSignalProcessGroup is a flag of pidfd_send_signal(2), Linux 6.9.
const pidfdSignalProcessGroup = 1 << 2

// onPidfdSignal: the task is about to call pidfd_send_signal(2) for a group.
func (t *Tracer) onPidfdSignal(k *task, si syscallInfo) {
	sig, info := unix.Signal(int32(si.Args[1])), si.Args[2]
	group, ok := k.pidOfPidfd(int(int32(si.Args[0])))
	if !ok || uint32(si.Args[3]) != pidfdSignalProcessGroup || !pidfdsSignalGroups() || info != 0 && !isOfSignal(k.tid, info, sig) {
		t.resume(k, 0) // the kernel says what is wrong
		return
	}
	call := killCall(si.Args[1])
	if info != 0 {
		call = func(number int) (int, [6]uint64) {
			return unix.SYS_RT_SIGQUEUEINFO, [6]uint64{uint64(number), si.Args[1], info}
		}
	}
	t.signalGroup(k, t.groupMeant(k.proc.gen, group), sig, call)
}

// pidfdsSignalGroups reports whether this kernel knows the flag.
var pidfdsSignalGroups = sync.OnceValue(func() bool {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, 0, nil, pidfdSignalProcessGroup) != unix.EINVAL
})

// pidOfPidfd is the process of a descriptor of pidfd_open(2), or of a number that
// stands for the caller itself (PIDFD_SELF, Linux 6.14).
func (k *task) pidOfPidfd(fd int) (pid int, ok bool) {
	const self, selves = -10000, 10
	if self-selves < fd && fd <= self {
		return k.proc.pid, true
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(k.tid) + "/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if v, found := strings.CutPrefix(line, "Pid:"); found {
			pid, err = strconv.Atoi(strings.TrimSpace(v))
			return pid, err == nil && pid > 0
		}
	}
	return 0, false
}

// isOfSignal reports whether the siginfo_t at addr says signal sig.
func isOfSignal(tid int, addr uint64, sig unix.Signal) bool {
	b := make([]byte, 4)
	return readMemory(tid, addr, b) == nil && unix.Signal(int32(order.Uint32(b))) == sig
}

// signalGroup makes a task that stands at a call which signals a group signal those
// of it that are not others'.
func (t *Tracer) signalGroup(k *task, group int, sig unix.Signal, call signalCall) {
	t.stops["seccomp:kill"]++
	g, self := k.proc.gen, k.proc.pid
	if !t.hasOthers(g, group) {
		t.resume(k, 0)
		return
	}
	targets := t.targets(k, group, nil)
	if len(targets) == 0 {
		t.answerCall(k, -int64(unix.ESRCH))
		return
	}
	i, err := t.atSignalCall(k)
	if err != nil {
		t.resume(k, 0) // it is dying
		return
	}
	var r reach
	// What can be blocked, the caller sends itself first, with its own mask: so the
	// kernel chooses the thread that it would have chosen. Nobody acts on it before
	// the end. What can't be blocked comes last.
	number, among := targets[self]
	first := among && sig != unix.SIGKILL && sig != unix.SIGSTOP
	if first {
		err = r.add(i.turnInto(call(number)))
	} else {
		err = i.skip()
	}
	sent := map[int]bool{self: true}
	// What was born meanwhile gets it, too: no fork slips through kill(2). Whoever
	// is traced bears one more at most before this thread has time for it.
	for n := 0; n < 20 && err == nil; n++ {
		t.awaitForks(g, sent)
		targets = t.targets(k, group, sent)
		for pid, number := range targets {
			if err == nil {
				err = r.add(i.make(call(number)))
			}
			sent[pid] = true
		}
		if len(targets) == 0 {
			break
		}
	}
	if among && !first && err == nil {
		err = r.add(i.make(call(number)))
	}
	if err == nil || i.stuck {
		t.releaseToSignal(g) // who is kept waiting would not hear it
		i.endAtCall(r.result(group))
	}
}

// atSignalCall begins an injection in a task that stands at a seccomp stop, whose
// call was not made yet, to make calls there that need no memory. The program may
// have a filter of its own: it lets pass what the program does anyway.
func (t *Tracer) atSignalCall(k *task) (i *injection, err error) {
	i = &injection{t: t, k: k, atCall: true}
	if i.saved, err = getRegisters(k.tid); err != nil {
		return nil, err
	}
	if i.mask, err = sigmask(k.tid); err != nil {
		return nil, err
	}
	i.pc = programCounter(&i.saved) - uint64(len(syscallInstruction))
	k.injection = i
	return i, setSigmask(k.tid, ^uint64(0))
}

// turnInto makes the call that stands there another one, with the task's own mask,
// and gives its result.
func (i *injection) turnInto(nr int, args [6]uint64) (int64, error) {
	r := i.saved
	changeCall(&r, nr, args)
	if err := errors.Join(setRegisters(i.k.tid, r), setSigmask(i.k.tid, i.mask), i.toExit()); err != nil {
		return 0, err
	}
	r, err := getRegisters(i.k.tid)
	return result(&r), errors.Join(err, setSigmask(i.k.tid, ^uint64(0)))
}

// reach is whom a group's signal reached.
type reach struct {
	one  bool       // at least
	last unix.Errno // of those that it did not
}

// add counts the result of one call, and passes an error on that kept it from being
// made.
func (r *reach) add(result int64, err error) error {
	switch {
	case err != nil:
	case result == 0:
		r.one = true
	case unix.Errno(-result) != unix.ESRCH: // else it ended before the signal
		r.last = unix.Errno(-result)
	}
	return err
}

// result is what the kernel gives for the group (kill_something_info in the kernel's
// signal.c): 0 if one of it was signalled, and for everybody also if none might be.
func (r *reach) result(group int) int64 {
	switch {
	case r.one, group == everybody && r.last == unix.EPERM:
		return 0
	case r.last != 0:
		return -int64(r.last)
	}
	return -int64(unix.ESRCH)
}
