package seccomp

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"
)

// Writes is a filter that traces what programs write heads of responses with
// (write, writev, sendto, sendmsg) on descriptors lo to hi, and lets everything
// else pass. It is for a generation that drains: the connections that it has
// are among these, and it gets no new ones. arch is the AUDIT_ARCH_ of the
// numbers; calls of another pass. sendfile and splice are not traced: no head
// is in a file. It is struct sock_filter after struct sock_filter, as seccomp(2)
// takes it.
func Writes(arch uint32, lo, hi int) (program []byte) {
	// Offsets in struct seccomp_data (seccomp(2)): nr 0, arch 4, args 16.
	const nr, archAt, fd = 0, 4, 16
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(how uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | how, K: k, Jt: yes, Jf: no}
	}
	give := func(v uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v}
	}
	for _, f := range []unix.SockFilter{
		load(archAt),
		jump(unix.BPF_JEQ, arch, 0, 8),
		load(nr),
		jump(unix.BPF_JEQ, unix.SYS_WRITE, 3, 0),
		jump(unix.BPF_JEQ, unix.SYS_WRITEV, 2, 0),
		jump(unix.BPF_JEQ, unix.SYS_SENDTO, 1, 0),
		jump(unix.BPF_JEQ, unix.SYS_SENDMSG, 0, 3),
		load(fd),
		jump(unix.BPF_JGE, uint32(lo), 0, 1),
		jump(unix.BPF_JGT, uint32(min(hi, math.MaxInt32)), 0, 1),
		give(unix.SECCOMP_RET_ALLOW),
		give(unix.SECCOMP_RET_TRACE),
	} {
		program = binary.NativeEndian.AppendUint16(program, f.Code)
		program = append(program, f.Jt, f.Jf)
		program = binary.NativeEndian.AppendUint32(program, f.K)
	}
	return program
}
