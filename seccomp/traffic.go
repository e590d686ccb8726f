package seccomp

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"
)

// Traffic is a filter that traces what programs read requests with (read, readv,
// recvfrom, recvmsg), and write heads of responses (write, writev, sendto,
// sendmsg), on descriptors lo to hi, and lets everything else pass. It is for a generation that drains: the connections that it has
// are among these, and it gets no new ones. arch is the AUDIT_ARCH_ of the
// numbers; calls of another pass. sendfile and splice are not traced: no head
// is in a file. It is struct sock_filter after struct sock_filter, as seccomp(2)
// takes it.
func Traffic(arch uint32, lo, hi int) (program []byte) {
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
	calls := []uint32{
		unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG,
		unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG,
	}
	n := uint8(len(calls))
	filter := []unix.SockFilter{load(archAt), jump(unix.BPF_JEQ, arch, 0, n+4), load(nr)}
	for i, call := range calls {
		no := uint8(0)
		if i == len(calls)-1 {
			no = 3
		}
		filter = append(filter, jump(unix.BPF_JEQ, call, n-1-uint8(i), no))
	}
	filter = append(filter,
		load(fd),
		jump(unix.BPF_JGE, uint32(lo), 0, 1),
		jump(unix.BPF_JGT, uint32(min(hi, math.MaxInt32)), 0, 1),
		give(unix.SECCOMP_RET_ALLOW),
		give(unix.SECCOMP_RET_TRACE),
	)
	for _, f := range filter {
		program = binary.NativeEndian.AppendUint16(program, f.Code)
		program = append(program, f.Jt, f.Jf)
		program = binary.NativeEndian.AppendUint32(program, f.K)
	}
	return program
}
