package tracer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// injection makes system calls in a stopped task and leaves no trace of them:
// no register, signal, memory or descriptor is other than it was.
//
// It begins either at an EVENT_STOP, and then ends at one, where the kernel
// decides whether the call that the task was in is restarted, as it would
// have (at a syscall-exit-stop it would not: -512, -514 and -516 leak to the
// program); or at a seccomp stop, in place of the call that stands there.
type injection struct {
	t       *Tracer
	k       *task
	saved   registers
	mask    uint64
	pc      uint64 // of a system call instruction
	scratch uint64 // address of a page of its own: a goroutine's stack is small, a vfork child's is its parent's
	// suspended: the task's seccomp filters do not apply to it for now.
	suspended bool
	// stopped: an EVENT_STOP was used up on the way, and must come again.
	stopped bool
	// atCall: it began in place of a call of the task's.
	atCall bool
	// broken: a call had to be broken off. stuck: one does not end (see leave);
	// then over is what is to be closed in the program when it has, and ends the
	// rest of the injection.
	broken, stuck bool
	over          []int
	ends          func()
}

const scratchSize = 4096

// injectAtStop begins in a task that stands at an EVENT_STOP.
func (t *Tracer) injectAtStop(k *task) (*injection, error) {
	i, err := t.newInjection(k)
	if err != nil {
		return nil, err
	}
	if i.pc, err = i.findCall(); err != nil {
		return i, err
	}
	return i, i.mapScratch()
}

// findCall is the place of a system call instruction. A task that just
// executed a program, or is about to run a signal handler, still has the
// number of its last call, but its program counter is elsewhere by now.
func (i *injection) findCall() (uint64, error) {
	before := programCounter(&i.saved) - uint64(len(syscallInstruction))
	if inSyscall(&i.saved) && atSyscallInstruction(i.k.tid, before) {
		return before, nil
	}
	return syscallInVDSO(i.k.tid)
}

func atSyscallInstruction(tid int, pc uint64) bool {
	b := make([]byte, len(syscallInstruction))
	return readMemory(tid, pc, b) == nil && bytes.Equal(b, syscallInstruction)
}

// injectAtCall begins in a task that stands at a seccomp stop, whose call is
// not made.
func (t *Tracer) injectAtCall(k *task) (*injection, error) {
	i, err := t.newInjection(k)
	if err != nil {
		return nil, err
	}
	i.atCall = true
	i.pc = programCounter(&i.saved) - uint64(len(syscallInstruction))
	if err := i.skip(); errors.Is(err, errStuck) {
		return i, err
	} else if err != nil {
		return nil, err
	}
	return i, i.mapScratch()
}

// skip takes a task that stands at a seccomp stop to the exit of its call, which
// is not made.
func (i *injection) skip() error {
	r := i.saved
	skipCall(&r)
	if err := setRegisters(i.k.tid, r); err != nil {
		return err
	}
	return i.toExit()
}

func (t *Tracer) newInjection(k *task) (*injection, error) {
	i := &injection{t: t, k: k}
	err := i.suspendFilters()
	if err != nil {
		return nil, err
	}
	if i.saved, err = getRegisters(k.tid); err != nil {
		return nil, err
	}
	if i.mask, err = sigmask(k.tid); err != nil {
		return nil, err
	}
	k.injection = i
	return i, setSigmask(k.tid, ^uint64(0))
}

func (i *injection) mapScratch() error {
	addr, err := i.call("mmap", unix.SYS_MMAP, 0, scratchSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0)
	i.scratch = uint64(addr)
	return err
}

// call makes system call nr in the task.
func (i *injection) call(name string, nr int, args ...uint64) (int64, error) {
	var a [6]uint64
	copy(a[:], args)
	v, err := i.make(nr, a)
	if err != nil {
		return 0, err
	}
	if i.broken && (v == -int64(unix.EINTR) || -516 <= v && v <= -512) { // ERESTARTSYS and its like
		return 0, fmt.Errorf("%s: %w", name, errBrokenOff)
	}
	if v < 0 && v > -4096 {
		return 0, fmt.Errorf("in the program: %w", os.NewSyscallError(name, unix.Errno(-v)))
	}
	return v, nil
}

// make makes system call nr in the task, and gives what it returned, -errno
// included.
func (i *injection) make(nr int, args [6]uint64) (int64, error) {
	if i.stuck {
		return 0, errStuck
	}
	r := i.saved
	setCall(&r, i.pc, nr, args)
	if err := setRegisters(i.k.tid, r); err != nil {
		return 0, err
	}
	if err := i.toExit(); err != nil {
		return 0, err
	}
	i.t.injected++
	r, err := getRegisters(i.k.tid)
	return result(&r), err
}

// toExit lets the task run to the exit of its next system call. All signals
// are blocked but SIGKILL and SIGSTOP.
func (i *injection) toExit() error {
	var sig unix.Signal
	for {
		if err := contToSyscall(i.k.tid, sig); err != nil {
			return err
		}
		sig = 0
		s, err := i.wait()
		if err != nil {
			return err
		}
		switch s.kind {
		case stopSyscall:
			si, err := getSyscallInfo(i.k.tid)
			if err != nil {
				return err
			}
			if si.Op == opExit {
				return nil
			}
		case stopSignal:
			sig = s.signal
		case stopEvent, stopGroup:
			i.stopped = true
		}
	}
}

func (i *injection) unmapScratch() {
	if i.scratch != 0 && !i.stuck {
		i.call("munmap", unix.SYS_MUNMAP, i.scratch, scratchSize)
		i.scratch = 0
	}
}

// endAtStop leaves the task at an EVENT_STOP, as it was found.
func (i *injection) endAtStop() error {
	i.unmapScratch()
	if i.stuck {
		return i.leave(nil)
	}
	var sig unix.Signal
	for {
		// Any trap clears a pending INTERRUPT, so it is asked for each time.
		if err := interrupt(i.k.tid); err != nil {
			return err
		}
		if err := cont(i.k.tid, sig); err != nil {
			return err
		}
		sig = 0
		s, err := i.wait()
		if errors.Is(err, errStuck) {
			return i.leave(nil)
		}
		if err != nil {
			return err
		}
		if s.kind == stopSignal {
			sig = s.signal
			continue
		}
		if s.kind != stopEvent && s.kind != stopGroup {
			continue
		}
		i.k.group = 0
		if s.kind == stopGroup {
			i.k.group = s.signal
		}
		break
	}
	i.k.injection = nil
	i.restoreFilters()
	if err := setRegisters(i.k.tid, i.saved); err != nil {
		return err
	}
	return setSigmask(i.k.tid, i.mask)
}

// endAtCall lets the task go on as if its call had returned v.
func (i *injection) endAtCall(v int64) error {
	i.unmapScratch()
	if i.stuck {
		return i.leave(func() { i.endAtCall(v) })
	}
	r := i.saved
	setResult(&r, v)
	if err := setRegisters(i.k.tid, r); err != nil {
		return err
	}
	return i.release()
}

// release gives the mask back and lets the task go on. An EVENT_STOP that was
// used up is asked for again: a freeze or a group-stop wants it.
func (i *injection) release() error {
	i.k.injection = nil
	i.restoreFilters()
	err := setSigmask(i.k.tid, i.mask)
	if i.stopped {
		interrupt(i.k.tid)
	}
	i.t.resume(i.k, 0)
	return err
}

// put writes b at offset off of the scratch page and returns its address.
func (i *injection) put(off int, b []byte) (uint64, error) {
	addr := i.scratch + uint64(off)
	return addr, writeMemory(i.k.tid, addr, b)
}

func (i *injection) get(off, n int) ([]byte, error) {
	b := make([]byte, n)
	return b, readMemory(i.k.tid, i.scratch+uint64(off), b)
}

// syscallInVDSO finds a system call instruction that every process has: one
// of the vDSO's own (vdso(7)), which fall back on the real calls.
func syscallInVDSO(pid int) (uint64, error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	defer maps.Close()
	// Not read at once: there may be tens of thousands, each with a path.
	lines := bufio.NewScanner(maps)
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		lo, hi, ok := isVDSO(lines.Text())
		if !ok {
			continue
		}
		code := make([]byte, hi-lo)
		if err := readMemory(pid, lo, code); err != nil {
			return 0, err
		}
		if n := findSyscall(code); n >= 0 {
			return lo + uint64(n), nil
		}
	}
	return 0, fmt.Errorf("process %d has no vDSO to make system calls from", pid)
}

// mostVDSO is more than any vDSO has, in bytes.
const mostVDSO = 1 << 20

// isVDSO reports whether a line of /proc/PID/maps is the vDSO's, and where that is. A
// file may have its name, and be as large as it likes.
func isVDSO(line string) (lo, hi uint64, ok bool) {
	f := strings.Fields(line)
	if len(f) != 6 || f[4] != "0" || f[5] != "[vdso]" {
		return 0, 0, false
	}
	if _, err := fmt.Sscanf(f[0], "%x-%x", &lo, &hi); err != nil {
		return 0, 0, false
	}
	return lo, hi, hi > lo && hi-lo <= mostVDSO
}

// order is the machine's, for what is written into a task's memory.
var order = binary.NativeEndian

// freezeTimeout bounds the wait for a process's threads to stop. A parent in
// vfork does not stop until its child executes something.
const freezeTimeout = time.Second
