package seccomp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// maxSendFDs is how many descriptors Sends can tell apart: BPF jumps at most 255
// instructions ahead.
const maxSendFDs = 200

// Sends is a filter that traces what sends datagrams on the given descriptors
// (sendto, sendmsg, sendmmsg), and lets everything else pass: other sends of the
// same program are none of hupt's business. Descriptors beyond maxSendFDs pass. arch is the AUDIT_ARCH_ of the numbers; calls of
// another pass. It is struct sock_filter after struct sock_filter, as seccomp(2)
// takes it.
func Sends(arch uint32, fds []int) (program []byte) {
	// Offsets in struct seccomp_data (seccomp(2)): nr 0, arch 4, args 16.
	const nr, archAt, fd = 0, 4, 16
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | unix.BPF_JEQ, K: k, Jt: yes, Jf: no}
	}
	give := func(v uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v}
	}
	fds = fds[:min(len(fds), maxSendFDs)]
	n := uint8(len(fds))
	filter := []unix.SockFilter{
		load(archAt),
		jump(arch, 0, 5+n),
		load(nr),
		jump(unix.SYS_SENDTO, 2, 0),
		jump(unix.SYS_SENDMSG, 1, 0),
		jump(unix.SYS_SENDMMSG, 0, 1+n),
		load(fd),
	}
	for k, f := range fds {
		filter = append(filter, jump(uint32(f), n-uint8(k), 0))
	}
	filter = append(filter, give(unix.SECCOMP_RET_ALLOW), give(unix.SECCOMP_RET_TRACE))
	for _, f := range filter {
		program = binary.NativeEndian.AppendUint16(program, f.Code)
		program = append(program, f.Jt, f.Jf)
		program = binary.NativeEndian.AppendUint32(program, f.K)
	}
	return program
}
