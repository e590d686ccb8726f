package tracer

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestRegisters(t *testing.T) {
	// In read(2), broken off by a stop.
	r := registers{Rip: 0x1002, Rax: ^uint64(512 - 1), Orig_rax: unix.SYS_READ, Rdi: 3}
	if !inSyscall(&r) || syscallNumber(&r) != unix.SYS_READ || result(&r) != -512 || programCounter(&r) != 0x1002 {
		t.Errorf("%+v", r)
	}
	user := registers{Orig_rax: ^uint64(0)}
	if inSyscall(&user) {
		t.Error("an interrupt is a system call")
	}

	call := r
	setCall(&call, 0x1000, unix.SYS_DUP3, [6]uint64{1, 2, 3, 4, 5, 6})
	want := registers{Rip: 0x1000, Rax: unix.SYS_DUP3, Orig_rax: ^uint64(0), Rdi: 1, Rsi: 2, Rdx: 3, R10: 4, R8: 5, R9: 6}
	if call != want {
		t.Errorf("%+v", call)
	}
	skipped := r
	if skipCall(&skipped); inSyscall(&skipped) || skipped.Rax != r.Rax {
		t.Errorf("%+v", skipped)
	}
	done := r
	if setResult(&done, -98); result(&done) != -98 || inSyscall(&done) {
		t.Errorf("%+v", done) // still in a call: the kernel would restart it
	}
	again := r
	if restart(&again); result(&again) != -514 || !inSyscall(&again) {
		t.Errorf("%+v", again)
	}
}

func TestWaitCall(t *testing.T) {
	for nr, want := range map[int]waitKind{
		unix.SYS_ACCEPT: waitAccept, unix.SYS_ACCEPT4: waitAccept,
		unix.SYS_POLL: waitPoll, unix.SYS_PPOLL: waitPoll,
		unix.SYS_SELECT: waitSelect, unix.SYS_PSELECT6: waitSelect,
		unix.SYS_EPOLL_WAIT: waitEpoll, unix.SYS_EPOLL_PWAIT: waitEpoll, unix.SYS_EPOLL_PWAIT2: waitEpoll,
		unix.SYS_RECVFROM: waitReceive, unix.SYS_RECVMSG: waitReceive, unix.SYS_RECVMMSG: waitReceive, unix.SYS_READ: waitReceive,
		unix.SYS_EPOLL_CTL: waitNone, unix.SYS_WRITE: waitNone, unix.SYS_FUTEX: waitNone,
	} {
		if got := waitCall(nr); got != want {
			t.Errorf("%d: %d", nr, got)
		}
	}
}

func TestFindSyscall(t *testing.T) {
	for code, want := range map[string]int{"": -1, "\x0f": -1, "\x90\x0f\x05\xc3": 1, "\x0f\x0f\x05": 1, "\xcd\x80": -1} {
		if got := findSyscall([]byte(code)); got != want {
			t.Errorf("% x: %d", code, got)
		}
	}
	// Every process has one where the calls of a task that computes are made.
	pc, err := syscallInVDSO(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(syscallInstruction))
	if err := readMemory(os.Getpid(), pc, b); err != nil || string(b) != string(syscallInstruction) {
		t.Errorf("% x at %#x, %v", b, pc, err)
	}
}

// TestVDSO: a program may have a file of that name, of any size, before the real one.
func TestVDSO(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/x [vdso]")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 43
	if err := f.Truncate(size); err != nil {
		t.Skip(err)
	}
	// Below the vDSO, as a rule: it is met first.
	at, _, e := unix.Syscall6(unix.SYS_MMAP, 0, size, unix.PROT_READ, unix.MAP_PRIVATE, f.Fd(), 0)
	if e != 0 {
		t.Fatal(e)
	}
	defer unix.Syscall(unix.SYS_MUNMAP, at, size, 0)
	if _, err := syscallInVDSO(os.Getpid()); err != nil {
		t.Error(err)
	}
}

func TestEpollEvent(t *testing.T) {
	got := epollEvent(unix.EPOLLIN|unix.EPOLLEXCLUSIVE, 0x1122334455667788)
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: 0x55667788, Pad: 0x11223344}
	want := unsafe.Slice((*byte)(unsafe.Pointer(&ev)), unsafe.Sizeof(ev))
	if string(got) != string(want) {
		t.Errorf("% x, want % x", got, want)
	}
}
