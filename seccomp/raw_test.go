package seccomp

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// rawVerdict runs a filter of struct sock_filter as the kernel would.
func rawVerdict(t *testing.T, program []byte, arch uint32, nr int, fd uint32) int {
	t.Helper()
	var raw []bpf.RawInstruction
	for b := program; len(b) >= 8; b = b[8:] {
		raw = append(raw, bpf.RawInstruction{Op: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:])})
	}
	instructions, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatalf("%v", instructions)
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64) // see verdict
	binary.BigEndian.PutUint32(data, uint32(nr))
	binary.BigEndian.PutUint32(data[4:], arch)
	binary.BigEndian.PutUint32(data[16:], fd)
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSends(t *testing.T) {
	many := make([]int, maxSendFDs+50)
	for n := range many {
		many[n] = n + 10
	}
	for _, fds := range [][]int{{3}, {3, 7, 1000}, many} {
		program := Sends(archX86_64, fds)
		for _, nr := range []int{unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG} {
			for n, fd := range fds {
				want := retTrace
				if n >= maxSendFDs {
					want = retAllow
				}
				if got := rawVerdict(t, program, archX86_64, nr, uint32(fd)); got != want {
					t.Errorf("%d descriptors: call %d on %d: %#x", len(fds), nr, fd, got)
				}
			}
			if got := rawVerdict(t, program, archX86_64, nr, 5); got != retAllow {
				t.Errorf("call %d on another: %#x", nr, got)
			}
			if got := rawVerdict(t, program, archI386, nr, uint32(fds[0])); got != retAllow {
				t.Errorf("call %d of another architecture: %#x", nr, got)
			}
		}
		for _, nr := range []int{unix.SYS_WRITE, unix.SYS_RECVFROM, unix.SYS_UNLINK} {
			if got := rawVerdict(t, program, archX86_64, nr, uint32(fds[0])); got != retAllow {
				t.Errorf("call %d: %#x", nr, got)
			}
		}
	}
}

func TestTrace(t *testing.T) {
	program, err := Trace(Paths)
	if err != nil {
		t.Fatal(err)
	}
	for nr, want := range map[int]int{
		unix.SYS_UNLINK: retTrace, unix.SYS_UNLINKAT: retTrace, unix.SYS_RENAME: retTrace, unix.SYS_RENAMEAT: retTrace,
		unix.SYS_RENAMEAT2: retTrace, unix.SYS_LINK: retAllow, unix.SYS_RMDIR: retAllow, unix.SYS_BIND: retAllow, unix.SYS_READ: retAllow,
	} {
		if got := rawVerdict(t, program, archX86_64, nr, 0); got != want {
			t.Errorf("call %d: %#x", nr, got)
		}
	}
	for _, paths := range []bool{false, true} {
		want := retAllow
		if paths {
			want = retTrace
		}
		if got := verdict(t, Options{Paths: paths}, archX86_64, unix.SYS_UNLINKAT); got != want {
			t.Errorf("at the launch, Paths %v: %#x", paths, got)
		}
	}
}
