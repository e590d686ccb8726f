package stage2

import (
	"debug/elf"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Signals is how the signals stood when hupt was started, bit n-1 for signal
// n. Both survive execve, so a program started under nohup or by systemd
// (which ignores SIGPIPE) must find them so under hupt, too.
type Signals struct {
	Ignored uint64
	Blocked uint64
}

// InheritedSignals tells how the signals stood when this process was started.
//
// Go's runtime puts handlers on nearly every signal before main runs, and the
// kernel keeps no trace of what was there. The runtime does: it saves the old
// handlers in runtime.fwdSig and the mask in runtime.initSigmask, to forward
// to them in programs built as libraries. They are read by their symbols;
// where the symbols were stripped, only what os/signal tells is known.
//
// Signals that the runtime leaves alone (SIGTSTP, SIGTTIN, SIGTTOU…) still
// stand as they did, and the kernel tells of them.
func InheritedSignals() Signals {
	s, _ := runtimeSignals()
	s.Ignored |= noted | ignoredByNow()
	return s
}

// noted is what NoteSignals found ignored.
var noted uint64

// NoteSignals is for a process that asks for signals before InheritedSignals,
// which takes some time: whether they were ignored can't be told afterwards.
func NoteSignals() { noted = ignoredByNow() }

func ignoredByNow() (ignored uint64) {
	for n := 1; n <= 64; n++ {
		if signal.Ignored(syscall.Signal(n)) {
			ignored |= 1 << (n - 1)
		}
	}
	return ignored | ignoredNow()
}

// ignoredNow is SigIgn of /proc/self/status.
func ignoredNow() uint64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return n
		}
	}
	return 0
}

func runtimeSignals() (Signals, bool) {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		return Signals{}, false
	}
	defer f.Close()
	// A position-independent binary is loaded elsewhere than its symbols say.
	if f.Type != elf.ET_EXEC {
		return Signals{}, false
	}
	syms, err := f.Symbols()
	if err != nil {
		return Signals{}, false
	}
	var fwd, mask uint64
	for _, s := range syms {
		switch {
		case s.Name == "runtime.fwdSig" && s.Size == 65*8:
			fwd = s.Value
		case s.Name == "runtime.initSigmask" && s.Size == 8:
			mask = s.Value
		}
	}
	if fwd == 0 || mask == 0 {
		return Signals{}, false
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return Signals{}, false
	}
	defer mem.Close()
	var handlers [65]uint64
	var blocked uint64
	if _, err := mem.ReadAt(unsafe.Slice((*byte)(unsafe.Pointer(&handlers)), 65*8), int64(fwd)); err != nil {
		return Signals{}, false
	}
	if _, err := mem.ReadAt(unsafe.Slice((*byte)(unsafe.Pointer(&blocked)), 8), int64(mask)); err != nil {
		return Signals{}, false
	}
	s := Signals{Blocked: blocked}
	const sigIgn = 1 // SIG_IGN, signal(2)
	for n := 1; n <= 64; n++ {
		if handlers[n] == sigIgn {
			s.Ignored |= 1 << (n - 1)
		}
	}
	return s, true
}

// Restore gives every signal the disposition that it had when hupt was
// started, and then the mask. The caller must be locked to its thread and
// execute the program next: Go's runtime is deaf from here on.
func (s Signals) Restore() error {
	type sigaction struct { // struct kernel_sigaction
		handler, flags, restorer uintptr
		mask                     uint64
	}
	for n := 1; n <= 64; n++ {
		if n == int(unix.SIGKILL) || n == int(unix.SIGSTOP) {
			continue
		}
		var sa sigaction
		if s.Ignored&(1<<(n-1)) != 0 {
			sa.handler = 1
		}
		if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&sa)), 0, 8, 0, 0); e != 0 {
			return os.NewSyscallError("rt_sigaction", e)
		}
	}
	m := s.Blocked
	if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&m)), 0, 8, 0, 0); e != 0 {
		return os.NewSyscallError("rt_sigprocmask", e)
	}
	return nil
}
