// Package reuseport chooses which sockets of an SO_REUSEPORT group (socket(7))
// get what comes in.
//
// A group is an array in the kernel (net/core/sock_reuseport.c), and a classic
// BPF program on it, which needs no privilege, gives the index of the socket
// that is to have a packet. Nothing tells which socket has which index: a
// socket goes to the end of the array when it listens (or is bound, if it takes
// datagrams), and the last one into the place of one that is closed. So it is
// found out: a probe of hupt's own is steered to each index in turn, where it is
// dropped, which that socket's counter of drops shows. The program sees nothing
// of it.
package reuseport

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Group is the sockets of one address, as descriptors of the caller's.
type Group struct {
	Address netip.AddrPort // that all are bound to
	Type    int            // SOCK_STREAM or SOCK_DGRAM
	FDs     []int          // those that are known
	Size    int            // how many there are, strangers' included; at least len(FDs)
	Deaf    []int          // those of FDs that Deafen was called for
	Chosen  []int          // what Choose was last given; nil: the kernel chooses
}

// Stranger stands in an Order for a socket that is not known.
const Stranger = -1

// ErrUnknown: which socket has which place in the group can't be found out.
var ErrUnknown = errors.New("the order of the group's sockets can't be found out")

// Choose makes everything that comes to the group from now on go to the sockets
// with these indices; what joins the group later gets nothing. It takes the
// place of any program that the group has.
func (g Group) Choose(indices []int) error {
	if len(g.FDs) == 0 || len(indices) == 0 {
		return fmt.Errorf("%w: there is none", ErrUnknown)
	}
	return g.attach(among(indices))
}

// Deafen makes a socket drop whatever comes to it from now on. It is to be
// among the Deaf of its group then.
func Deafen(fd int) error { return attach(fd, unix.SO_ATTACH_FILTER, []unix.SockFilter{ret(0)}) }

// Nowhere is the index of an interface that no machine has.
const Nowhere = math.MaxInt32

// Leave takes a datagram socket that is about to be closed out of its group, for
// good: it hears nothing any more. A close alone does it in two steps: out of the
// group, and then out of the table of addresses (udp_lib_unhash, net/ipv4/udp.c).
// A datagram that finds the socket there in between, without a group that would
// choose, is its own, and lost. To one that is bound to another interface nothing
// comes from before the first of these steps, but what is being delivered just
// then (SO_BINDTOIFINDEX: Linux 5.0, and 5.7 without CAP_NET_RAW).
func Leave(fd int) error {
	return os.NewSyscallError("setsockopt(SO_BINDTOIFINDEX)", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, Nowhere))
}

// Release leaves the choice to the kernel again. That there is no program is
// no error.
func Release(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return os.NewSyscallError("setsockopt(SO_DETACH_REUSEPORT_BPF)", err)
}

func (g Group) attach(p []unix.SockFilter) error {
	return os.NewSyscallError("setsockopt(SO_ATTACH_REUSEPORT_CBPF)", attach(g.FDs[0], unix.SO_ATTACH_REUSEPORT_CBPF, p))
}

// restore takes a probe's program away again.
func (g Group) restore() {
	if g.Chosen == nil {
		Release(g.FDs[0])
		return
	}
	g.attach(among(g.Chosen))
}

// Order is the descriptors by their index in the group, Stranger for those that
// are not known. While it looks, and after it, the group chooses as before.
func (g Group) Order() ([]int, error) {
	if len(g.FDs) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrUnknown)
	}
	if g.Size > len(g.FDs) && g.Type == unix.SOCK_DGRAM {
		// A stranger would be given the probe.
		return nil, fmt.Errorf("%w: it has sockets of another program's", ErrUnknown)
	}
	for _, fd := range g.hearing() {
		if n, err := filterLen(fd); err != nil || n > 0 {
			return nil, fmt.Errorf("%w: a socket of it has a filter of the program's", ErrUnknown)
		}
	}
	p, err := newProbe(g)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	defer p.close()
	defer func() {
		g.restore()
		for _, fd := range g.hearing() {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		}
	}()
	drop := append(forProbe(p.from, 0), ret(notMember)) // which means the whole packet here
	for _, fd := range g.hearing() {
		if err := attach(fd, unix.SO_ATTACH_FILTER, drop); err != nil {
			return nil, os.NewSyscallError("setsockopt(SO_ATTACH_FILTER)", err)
		}
	}
	rest := []unix.SockFilter{ret(notMember)}
	if g.Chosen != nil {
		rest = among(g.Chosen)
	}
	order := make([]int, g.Size)
	found := make(map[int]bool)
	for index := range order {
		order[index] = Stranger
		// The probe only: everybody else's packets go their way.
		if err := g.attach(append(forProbe(p.from, uint32(index)), rest...)); err != nil {
			return nil, err
		}
		hit, err := g.whoDrops(p)
		if err != nil {
			return nil, err
		}
		if hit >= 0 && !found[hit] {
			order[index] = hit
			found[hit] = true
		}
	}
	if len(found) < len(g.FDs) {
		return nil, fmt.Errorf("%w: %d of %d answer", ErrUnknown, len(found), len(g.FDs))
	}
	return order, nil
}

// hearing is the sockets that are to have a filter while the group is looked
// into: those of datagrams, but for the deaf.
func (g Group) hearing() []int {
	if g.Type != unix.SOCK_DGRAM {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(g.FDs), func(fd int) bool { return slices.Contains(g.Deaf, fd) })
}

// whoDrops probes once, and gives the socket that dropped it; -1: none of
// those known. Others' packets may be dropped meanwhile for other reasons (a
// queue that is full), so it asks until one socket alone counted.
func (g Group) whoDrops(p *probe) (int, error) {
	const attempts = 10
	for range attempts {
		before, err := g.drops()
		if err != nil {
			return -1, err
		}
		if err := p.send(); err != nil {
			return -1, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		after, err := g.drops()
		if err != nil {
			return -1, err
		}
		hit, many := -1, false
		for n, fd := range g.FDs {
			if after[n] != before[n] {
				many = many || hit >= 0
				hit = fd
			}
		}
		if !many {
			return hit, nil
		}
	}
	return -1, fmt.Errorf("%w: its queues are full", ErrUnknown)
}

// drops is what each socket dropped so far (SO_MEMINFO, Linux 4.12).
func (g Group) drops() ([]uint32, error) {
	out := make([]uint32, len(g.FDs))
	for n, fd := range g.FDs {
		info := make([]uint32, unix.SK_MEMINFO_VARS)
		size := uint32(4 * len(info))
		if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0); e != 0 {
			return nil, os.NewSyscallError("getsockopt(SO_MEMINFO)", e)
		}
		out[n] = info[unix.SK_MEMINFO_DROPS]
	}
	return out, nil
}

// filterLen is how many instructions the filter of a socket has (SO_GET_FILTER
// is SO_ATTACH_FILTER). One that can't be read gives an error.
func filterLen(fd int) (int, error) {
	var n uint32
	if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		0, uintptr(unsafe.Pointer(&n)), 0); e != 0 {
		return 0, e
	}
	return int(n), nil
}
