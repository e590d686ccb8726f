package tracer

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hupt/seccomp"
)

// task is a thread of a program, as the kernel schedules it.
type task struct {
	tid  int
	proc *process

	// frozen: it stands at an EVENT_STOP and waits for thaw. group is then the
	// signal of the group-stop it is in, or 0.
	frozen bool
	group  unix.Signal

	// awaitsExit is set at a seccomp stop whose result is of interest, and
	// told the result at the exit.
	awaitsExit func(result int64)

	// wait is a call with a time-out that was made to start again; nil: none.
	wait *timedWait

	// held: it stands at the entry of an accept, until its generation serves.
	held bool

	// parked: it stands where it would block in a write that hupt makes for it.
	parked bool

	// short is a blocking transfer that a stop broke off and that it goes on
	// with; nil: none.
	short *short

	// injection is what makes system calls in it just now; nil: nothing does.
	injection *injection
	// left: a call that hupt makes in it does not end; nil: there is none.
	left *injection

	// listening: it is in a group-stop, resumed by PTRACE_LISTEN.
	listening bool
}

// alsoAwaitExit makes f hear of the result, too, after who awaits it already.
func (k *task) alsoAwaitExit(f func(result int64)) {
	before := k.awaitsExit
	k.awaitsExit = func(result int64) {
		if before != nil {
			before(result)
		}
		f(result)
	}
}

// process is a thread group. Its tasks share one memory and, but for programs
// that unshare(CLONE_FILES), one table of descriptors.
type process struct {
	pid     int
	order   uint64 // in which hupt came to know of them
	gen     *Generation
	tasks   map[int]*task
	frozen  bool // tasks stay at their next EVENT_STOP
	freezes int  // how many want it so: while one waits for the stops, another may begin
	kept    bool // it is frozen until it is told to execute something, or released

	// filters is how many filters beside stage 2's hupt has put on it. guarded:
	// one of them stops what takes a path away. Of those that trace traffic, the
	// last is for descriptors trafficFrom to trafficTo (see SayClose).
	filters                int
	guarded                bool
	connects               seccomp.Connects // that stop by a filter that hupt put on it
	trafficFrom, trafficTo int

	outside map[unix.Signal]time.Time // when it last got a signal of those that are told of

	goKnown answer // whether its program was built by Go

	// atAccept are the tasks that were in accept() when the process was
	// quiesced; the others are not expected there on a dummy (see poke).
	atAccept map[int]bool
	poked    map[int]int

	sendsOn []int // of which filters trace sends of datagrams on these (see traceAnswers)

	stepping bool // its tasks stop at every system call, so that its writes are seen
	pidfd    int  // of it, if there is need for one; else 0
}

// answer to a question that is asked at most once.
type answer int

const (
	unknown answer = iota
	yes
	no
)

// addTask notes a task of process pid in generation g, born of parent.
func (t *Tracer) addTask(tid, pid int, g *Generation, parent *process) *task {
	p := t.procs[pid]
	if p == nil {
		t.births++
		p = &process{pid: pid, order: t.births, gen: g, tasks: make(map[int]*task)}
		p.inheritFilters(parent)
		t.procs[pid] = p
		g.procs[pid] = p
		if g.killed {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	k := &task{tid: tid, proc: p}
	p.tasks[tid] = k
	t.tasks[tid] = k
	return k
}

// dropTask forgets a task, and its process with the last of them. It reports
// whether the process ended with it.
func (t *Tracer) dropTask(k *task) bool {
	k.endWait()
	delete(t.tasks, k.tid)
	p := k.proc
	delete(p.tasks, k.tid)
	if len(p.tasks) > 0 {
		return false
	}
	delete(t.procs, p.pid)
	delete(p.gen.procs, p.pid)
	p.closePidfd()
	return true
}

// kin reads from /proc what a task that we did not see born belongs to.
func kin(tid int) (tgid, ppid, tracer int, err error) {
	err = eachStatus(tid, func(name, v string) {
		switch name {
		case "Tgid":
			tgid, _ = strconv.Atoi(v)
		case "PPid":
			ppid, _ = strconv.Atoi(v)
		case "TracerPid":
			tracer, _ = strconv.Atoi(v)
		}
	})
	return tgid, ppid, tracer, err
}

// eachStatus reads /proc/TID/status (proc_pid_status(5)) field by field.
func eachStatus(tid int, f func(name, value string)) error {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		name, v, _ := strings.Cut(line, ":")
		f(name, strings.TrimSpace(v))
	}
	return nil
}

// adoptStray finds the generation of a task that stopped before its parent's
// event told of it: with 12 threads that clone, the child is first in three of
// four cases. nil: not known yet; the parent's event, or its death, will tell.
func (t *Tracer) adoptStray(tid int) *task {
	tgid, ppid, _, err := kin(tid)
	if err != nil {
		return nil
	}
	if p := t.procs[tgid]; p != nil {
		return t.addTask(tid, tgid, p.gen, nil)
	}
	if p := t.procs[ppid]; p != nil {
		return t.addTask(tid, tgid, p.gen, p)
	}
	return nil
}

// bornOf handles the parent's half of a birth. The child may be known, or even
// be dead and reaped: then /proc has it no more.
func (t *Tracer) bornOf(parent *task, tid int) {
	if t.tasks[tid] == nil {
		tgid, _, tracer, err := kin(tid)
		if err == nil && tracer != 0 {
			t.addTask(tid, tgid, parent.proc.gen, parent.proc)
		}
	}
	if ws, ok := t.strays[tid]; ok {
		delete(t.strays, tid)
		t.dispatch(tid, ws)
	}
}

// settleStrays gives strays whose parent died before it could tell of them to
// the generation of the task that just died.
func (t *Tracer) settleStrays(g *Generation) {
	for tid, ws := range t.strays {
		tgid, ppid, _, err := kin(tid)
		if err != nil {
			delete(t.strays, tid)
			continue
		}
		if t.procs[ppid] == nil && t.procs[tgid] == nil {
			t.addTask(tid, tgid, g, nil)
		}
		delete(t.strays, tid)
		t.dispatch(tid, ws)
	}
}
