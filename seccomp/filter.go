// Package seccomp says which system calls of a program stop for hupt, as
// rules, and turns the rules into BPF through go-seccomp-bpf.
//
// As little as can be is trapped: RET_TRACE costs about 12 µs a call, and it
// gives ENOSYS to whoever makes the call when no tracer is left (seccomp(2)).
// The kernel caches the verdict of calls that a filter always allows (Linux
// 5.11, CONFIG_SECCOMP_FILTER), so accept, read, write and epoll stay free.
package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	bpf "github.com/elastic/go-seccomp-bpf"
	netbpf "golang.org/x/net/bpf"
)

// Traced are the system calls that stop under hupt, by name.
//
// bind is where a held socket is adopted; listen tells that the program means
// to serve on it. Both run a few times in the life of a program.
var Traced = []string{"bind", "listen"}

// connects are the calls of connect(2) that stop, where some do: those by an address
// that has neither the length of a sockaddr_in nor a sockaddr_in6, which leaves those to
// a path or an abstract name. The rules stand before toGroups: a length that passes
// is no number of theirs.
var connects = []bpf.NameWithConditions{
	{Name: "connect", Conditions: bpf.ArgumentConditions{
		{Argument: 2, Operation: bpf.NotEqual, Value: sockaddrIn},
		{Argument: 2, Operation: bpf.NotEqual, Value: sockaddrIn6},
	}},
}

const sockaddrIn, sockaddrIn6 = 16, 28

// Connects is which calls of connect(2) stop.
type Connects int

const (
	NoConnects   Connects = iota
	UnixConnects          // those that can't be to an internet address, by their length
	AllConnects
)

// ConnectsTo is the calls to stop for a name of so many bytes in sun_path, if a connect
// to it is to stop: as long as an internet address it may not be told from one.
func ConnectsTo(name int) Connects {
	const family = 2
	for _, n := range []int{family + name, family + name + 1} { // without or with its NUL, unix(7)
		if n == sockaddrIn || n == sockaddrIn6 {
			return AllConnects
		}
	}
	return UnixConnects
}

// toGroups are the system calls that signal a group of processes, if they do:
// kill(2) of 0 or of a negative number, pidfd_send_signal(2) with
// PIDFD_SIGNAL_PROCESS_GROUP. hupt and its generations may be in it. A signal to
// one process does not stop. The numbers are ints: the kernel does not look at
// the upper half of the argument.
//
// They must be the last rules, in this order. Where no condition of a rule holds,
// the assembler goes on to the next rule with the argument in place of the call's
// number: behind kill there is none, and no flags that pass are kill's number.
var toGroups = []bpf.NameWithConditions{
	{Name: "pidfd_send_signal", Conditions: bpf.ArgumentConditions{{Argument: 3, Operation: bpf.BitsSet, Value: 1 << 2}}},
	{Name: "kill", Conditions: bpf.ArgumentConditions{{Argument: 0, Operation: bpf.BitsNotSet, Value: 0xffffffff}}},
	{Name: "kill", Conditions: bpf.ArgumentConditions{{Argument: 0, Operation: bpf.BitsSet, Value: 1 << 31}}},
}

// Paths are the system calls that take a path away. They stop where the program
// has a Unix socket with a path, and nowhere else: programs unlink files all
// day.
var Paths = []string{"unlink", "unlinkat", "rename", "renameat", "renameat2"}

// Options choose what the filter does beside tracing.
type Options struct {
	// AllowIOUring lets io_uring_setup pass. Otherwise it gives ENOSYS, as on
	// a kernel without io_uring: a ring can bind, listen and accept, and no
	// filter sees what goes through it.
	AllowIOUring bool
	// Paths traces what takes a path away, too.
	Paths bool
	// Connects traces connect(2), too.
	Connects Connects
}

// policy is the rules. Calls that hupt does not handle, those by int 0x80 and
// those of the x32 ABI included, run as they would without a filter: the
// assembler lets another architecture through by the default action, and x32
// gets ENOSYS, as it does from a kernel built without it.
func policy(o Options) bpf.Policy {
	groups := []bpf.SyscallGroup{{Names: Traced, Action: bpf.ActionTrace}}
	if o.Paths {
		groups = append(groups, bpf.SyscallGroup{Names: Paths, Action: bpf.ActionTrace})
	}
	if !o.AllowIOUring {
		groups = append(groups, bpf.SyscallGroup{
			Names:  []string{"io_uring_setup"},
			Action: errnoAction(syscall.ENOSYS),
		})
	}
	if o.Connects == AllConnects {
		groups = append(groups, bpf.SyscallGroup{Names: []string{"connect"}, Action: bpf.ActionTrace})
	}
	last := toGroups
	if o.Connects == UnixConnects {
		last = slices.Concat(connects, toGroups)
	}
	groups = append(groups, bpf.SyscallGroup{NamesWithCondtions: last, Action: bpf.ActionTrace})
	return bpf.Policy{DefaultAction: bpf.ActionAllow, Syscalls: groups}
}

// Trace is a filter that stops the named system calls, and nothing else, as the
// array of struct sock_filter that seccomp(2) takes: to be put on a program that
// runs already.
func Trace(names []string) ([]byte, error) {
	return assemble(bpf.SyscallGroup{Names: names, Action: bpf.ActionTrace})
}

// TraceConnects is such a filter for connect(2).
func TraceConnects(c Connects) ([]byte, error) {
	if c == AllConnects {
		return Trace([]string{"connect"})
	}
	return assemble(bpf.SyscallGroup{NamesWithCondtions: connects, Action: bpf.ActionTrace})
}

func assemble(stops bpf.SyscallGroup) ([]byte, error) {
	p := bpf.Policy{DefaultAction: bpf.ActionAllow, Syscalls: []bpf.SyscallGroup{stops}}
	program, err := p.Assemble()
	if err != nil {
		return nil, fmt.Errorf("assemble seccomp filter: %w", err)
	}
	raw, err := netbpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("assemble seccomp filter: %w", err)
	}
	var b []byte
	for _, i := range raw {
		b = binary.NativeEndian.AppendUint16(b, i.Op)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return b, nil
}

// errnoAction is SECCOMP_RET_ERRNO with errno in its low 16 bits
// (seccomp(2)); the library's own ActionErrno is always EPERM.
func errnoAction(errno syscall.Errno) bpf.Action {
	const retErrno = 0x00050000
	return bpf.Action(retErrno | uint32(errno))
}

// Load puts the filter on the calling thread, which must be locked to its
// goroutine, and which every program that it executes inherits it from.
//
// It first tries without no_new_privs, which would take the power from
// set-uid programs and file capabilities. The kernel allows that only to a
// holder of CAP_SYS_ADMIN in its user namespace and gives EACCES to others
// (seccomp(2)); noNewPrivs tells that the bit had to be set.
func Load(o Options) (noNewPrivs bool, err error) {
	f := bpf.Filter{Policy: policy(o)}
	err = bpf.LoadFilter(f)
	if errors.Is(err, syscall.EACCES) {
		f.NoNewPrivs = true
		err = bpf.LoadFilter(f)
	}
	if err != nil {
		return false, fmt.Errorf("load seccomp filter: %w", err)
	}
	return f.NoNewPrivs, nil
}
