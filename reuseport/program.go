package reuseport

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Places that a classic BPF program can load from wherever its data begins
// (linux/filter.h): the network header, and the kernel's random numbers.
const (
	netOff    = 0xfff00000 // SKF_NET_OFF
	adRandom  = 0xfffff038 // SKF_AD_OFF + SKF_AD_RANDOM
	notMember = 0xffffffff // no index: the kernel chooses by its hash
)

func load(code uint16, k uint32) unix.SockFilter {
	return unix.SockFilter{Code: code | unix.BPF_LD | unix.BPF_ABS, K: k}
}

func ret(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

// among chooses one of the sockets with these indices, each flow always the
// same one: a stateful datagram protocol wants it so. The kernel's own hash is
// out of reach for a classic program, so this one is by the client's address
// and port. IPv6 extension headers and IPv4 options spoil it: such flows go to
// any of them.
func among(indices []int) []unix.SockFilter {
	if len(indices) == 1 {
		return []unix.SockFilter{ret(uint32(indices[0]))}
	}
	p := []unix.SockFilter{
		load(unix.BPF_B, netOff),
		{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 4, Jf: 4},
		load(unix.BPF_W, netOff+12), // source address
		{Code: unix.BPF_MISC | unix.BPF_TAX},
		load(unix.BPF_W, netOff+20), // ports
		{Code: unix.BPF_JMP | unix.BPF_JA, K: 3},
		load(unix.BPF_W, netOff+20), // the last quarter of the source address
		{Code: unix.BPF_MISC | unix.BPF_TAX},
		load(unix.BPF_W, netOff+40), // ports
		{Code: unix.BPF_ALU | unix.BPF_XOR | unix.BPF_X},
		{Code: unix.BPF_ALU | unix.BPF_MUL | unix.BPF_K, K: 0x9e3779b1}, // 2^32 / golden ratio
		{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: 20},         // clients count their ports up by twos: the low bits are no choice
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(len(indices))},
	}
	return append(p, table(indices)...)
}

// table turns the number n in the accumulator into the n-th index.
func table(indices []int) (p []unix.SockFilter) {
	for n, index := range indices[:len(indices)-1] {
		p = append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(n), Jf: 1}, ret(uint32(index)))
	}
	return append(p, ret(uint32(indices[len(indices)-1])))
}

// forProbe gives yes for a packet that comes from the probe at from. For others
// the program goes on behind it.
func forProbe(from netip.AddrPort, yes uint32) []unix.SockFilter {
	words := make([]unix.SockFilter, 0, 12)
	expect := func(l unix.SockFilter, k uint32) {
		words = append(words, l, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k})
	}
	addr, at := from.Addr().AsSlice(), uint32(netOff+12)
	expect(load(unix.BPF_B, netOff), 0x45)
	if from.Addr().Is6() {
		words, at = words[:0], netOff+8
		words = append(words, load(unix.BPF_B, netOff), unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: 4},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 6})
	}
	for n := 0; n < len(addr); n += 4 {
		expect(load(unix.BPF_W, at+uint32(n)), binary.BigEndian.Uint32(addr[n:]))
	}
	port := uint32(netOff + 20)
	if from.Addr().Is6() {
		port = netOff + 40
	}
	expect(load(unix.BPF_H, port), uint32(from.Port()))
	for n := range words {
		if words[n].Code == unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K {
			words[n].Jf = uint8(len(words) - n) // over the yes
		}
	}
	return append(words, ret(yes))
}

// attach sets a socket option that takes a classic BPF program.
func attach(fd, option int, p []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	_, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(option),
		uintptr(unsafe.Pointer(&prog)), unsafe.Sizeof(prog), 0)
	runtime.KeepAlive(p)
	if e != 0 {
		return e
	}
	return nil
}
