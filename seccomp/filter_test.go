package seccomp

import (
	"encoding/binary"
	"fmt"
	"math"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What a filter answers, seccomp(2).
const (
	retErrno = 0x00050000
	retTrace = 0x7ff00000
	retAllow = 0x7fff0000
)

// Architectures, linux/audit.h.
const (
	archX86_64  = 0xc000003e
	archI386    = 0x40000003
	archAArch64 = 0xc00000b7
)

// verdict runs the filter as the kernel would for one call.
func verdict(t *testing.T, o Options, arch uint32, nr int, args ...uint64) int {
	t.Helper()
	p := policy(o)
	program, err := p.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	// struct seccomp_data. The kernel's loads have the machine's order, the
	// VM's the network's, so each word of 32 bits is put as the VM reads it.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data, uint32(nr))
	binary.BigEndian.PutUint32(data[4:], arch)
	for n, arg := range args {
		binary.BigEndian.PutUint32(data[16+8*n:], uint32(arg))
		binary.BigEndian.PutUint32(data[20+8*n:], uint32(arg>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFilter(t *testing.T) {
	for _, o := range []Options{{}, {AllowIOUring: true}} {
		ring := retErrno | int(syscall.ENOSYS)
		if o.AllowIOUring {
			ring = retAllow
		}
		for _, c := range []struct {
			name string
			nr   int
			want int
		}{
			{"bind", unix.SYS_BIND, retTrace},
			{"listen", unix.SYS_LISTEN, retTrace},
			{"io_uring_setup", unix.SYS_IO_URING_SETUP, ring},
			// Not one call on the way of a request stops.
			{"accept", unix.SYS_ACCEPT, retAllow},
			{"accept4", unix.SYS_ACCEPT4, retAllow},
			{"read", unix.SYS_READ, retAllow},
			{"readv", unix.SYS_READV, retAllow},
			{"recvfrom", unix.SYS_RECVFROM, retAllow},
			{"recvmsg", unix.SYS_RECVMSG, retAllow},
			{"write", unix.SYS_WRITE, retAllow},
			{"writev", unix.SYS_WRITEV, retAllow},
			{"sendto", unix.SYS_SENDTO, retAllow},
			{"sendmsg", unix.SYS_SENDMSG, retAllow},
			{"sendfile", unix.SYS_SENDFILE, retAllow},
			{"close", unix.SYS_CLOSE, retAllow},
			{"shutdown", unix.SYS_SHUTDOWN, retAllow},
			{"epoll_wait", unix.SYS_EPOLL_WAIT, retAllow},
			{"epoll_pwait", unix.SYS_EPOLL_PWAIT, retAllow},
			{"epoll_ctl", unix.SYS_EPOLL_CTL, retAllow},
			{"poll", unix.SYS_POLL, retAllow},
			{"select", unix.SYS_SELECT, retAllow},
			{"futex", unix.SYS_FUTEX, retAllow},
			{"socket", unix.SYS_SOCKET, retAllow},
			{"connect", unix.SYS_CONNECT, retAllow},
			{"dup3", unix.SYS_DUP3, retAllow},
			{"clone", unix.SYS_CLONE, retAllow},
			{"execve", unix.SYS_EXECVE, retAllow},
			{"io_uring_enter", unix.SYS_IO_URING_ENTER, retAllow},
		} {
			if got := verdict(t, o, archX86_64, c.nr, 3, 1<<40, 16); got != c.want {
				t.Errorf("%+v: %s gives %#x, not %#x", o, c.name, got, c.want)
			}
		}
	}
}

// TestFilterOnAllCalls: what is not named passes, whatever its number.
func TestFilterOnAllCalls(t *testing.T) {
	named := map[int]bool{unix.SYS_BIND: true, unix.SYS_LISTEN: true, unix.SYS_IO_URING_SETUP: true}
	for nr := range 600 {
		if got := verdict(t, Options{}, archX86_64, nr, 1); (got == retAllow) == named[nr] {
			t.Errorf("call %d gives %#x", nr, got)
		}
	}
}

// TestConnects: connects that can't be to an internet address stop where those to Unix
// sockets are to, and no other call does on their account.
func TestConnects(t *testing.T) {
	for length := range uint64(600) {
		inet := length == 16 || length == 28
		for o, want := range map[Options]bool{{}: false, {Connects: UnixConnects}: !inet, {Connects: AllConnects}: true,
			{Connects: UnixConnects, Paths: true, AllowIOUring: true}: !inet} {
			if got := verdict(t, o, archX86_64, unix.SYS_CONNECT, 3, 1<<40, length) == retTrace; got != want {
				t.Fatalf("%+v: a connect to an address of %d bytes stops: %v, not %v", o, length, got, want)
			}
		}
	}
	for nr := range 600 {
		for _, length := range []uint64{0, 16, 28, 110} {
			for _, c := range []Connects{UnixConnects, AllConnects} {
				if nr == unix.SYS_CONNECT {
					continue
				}
				with, without := verdict(t, Options{Connects: c}, archX86_64, nr, 3, 1, length), verdict(t, Options{}, archX86_64, nr, 3, 1, length)
				if with != without {
					t.Errorf("call %d gives %#x, not %#x", nr, with, without)
				}
			}
		}
	}
	for name, want := range map[int]Connects{6: UnixConnects, 12: UnixConnects, 13: AllConnects, 14: AllConnects, 15: UnixConnects, 25: AllConnects, 26: AllConnects, 107: UnixConnects} {
		if got := ConnectsTo(name); got != want {
			t.Errorf("%d bytes: %v, not %v", name, got, want)
		}
	}
}

// TestGroups: of the calls that send signals, those to a group stop, whatever is in
// the upper half of the argument and in those that the call does not have; and no
// other one does, whatever the receiver's number.
func TestGroups(t *testing.T) {
	for _, upper := range []uint64{0, 1<<32 - 1, 0xdead} {
		for _, rest := range []uint64{0, 1 << 2, 1<<64 - 1, unix.SYS_KILL} {
			for to := int32(-1000); to < 1000; to++ {
				want := retAllow
				if to <= 0 {
					want = retTrace
				}
				number := upper<<32 | uint64(uint32(to))
				if got := verdict(t, Options{}, archX86_64, unix.SYS_KILL, number, 15, rest, rest, rest, rest); got != want {
					t.Fatalf("kill(%d), other arguments %#x: %#x, not %#x", to, rest, got, want)
				}
			}
		}
		for _, to := range []int32{math.MinInt32, math.MaxInt32} {
			want := retAllow
			if to < 0 {
				want = retTrace
			}
			if got := verdict(t, Options{Paths: true}, archX86_64, unix.SYS_KILL, upper<<32|uint64(uint32(to)), 15); got != want {
				t.Errorf("kill(%d): %#x, not %#x", to, got, want)
			}
		}
		for flags := range uint64(1000) {
			want := retAllow
			if flags&4 != 0 {
				want = retTrace
			}
			if got := verdict(t, Options{}, archX86_64, unix.SYS_PIDFD_SEND_SIGNAL, 3, 15, 0, upper<<32|flags); got != want {
				t.Fatalf("pidfd_send_signal with flags %#x: %#x, not %#x", flags, got, want)
			}
		}
	}
	for _, nr := range []int{unix.SYS_TKILL, unix.SYS_TGKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO} {
		if got := verdict(t, Options{}, archX86_64, nr, 0, 0, 0, 4); got != retAllow {
			t.Errorf("call %d: %#x", nr, got)
		}
	}
}

// TestForeignCalls: int 0x80 has other numbers, so nothing may be concluded
// from them; no call of x32 is handled, and it does as on a kernel without it.
func TestForeignCalls(t *testing.T) {
	const x32 = 1 << 30 // __X32_SYSCALL_BIT
	for _, nr := range []int{unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_IO_URING_SETUP, 102, 361, 363, 425} {
		for _, arch := range []uint32{archI386, archAArch64, 0} {
			if got := verdict(t, Options{}, arch, nr); got != retAllow {
				t.Errorf("call %d of architecture %#x gives %#x", nr, arch, got)
			}
		}
		if got := verdict(t, Options{}, archX86_64, nr|x32); got != retAllow && got != retErrno|int(syscall.ENOSYS) {
			t.Errorf("call %d of x32 gives %#x", nr, got)
		}
	}
}

// TestLength: the filter runs at every system call that the kernel does not
// know the verdict of.
func TestLength(t *testing.T) {
	p := policy(Options{})
	program, err := p.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	if len(program) > 26 {
		listing := ""
		for n, i := range program {
			listing += fmt.Sprintf("%3d %v\n", n, i)
		}
		t.Errorf("%d instructions\n%s", len(program), listing)
	}
}
