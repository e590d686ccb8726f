package tracer

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// addFilter puts a seccomp filter on all threads of the process.
func (i *injection) addFilter(program []byte) error {
	const atProgram, instruction = 512, 8
	addr, err := i.put(atProgram, program)
	if err != nil {
		return err
	}
	b := make([]byte, 16) // struct sock_fprog
	order.PutUint16(b, uint16(len(program)/instruction))
	order.PutUint64(b[8:], addr)
	if addr, err = i.put(atPair, b); err != nil {
		return err
	}
	load := func() error {
		tid, err := i.call("seccomp", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, addr)
		switch {
		case err == nil && tid == 0:
			i.k.proc.filters++
		case err == nil:
			err = fmt.Errorf("thread %d has a seccomp filter that the others don't have", tid)
		}
		return err
	}
	// As at the launch: without no_new_privs where the kernel lets us. A
	// program that dropped its privileges is on its way out.
	if err = load(); errors.Is(err, unix.EACCES) {
		if _, err = i.call("prctl", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err == nil {
			err = load()
		}
	}
	return err
}

// inheritFilters notes what filters a process that was just born got from its
// parent: those that hupt put on that after its launch, unless it did so since.
func (p *process) inheritFilters(parent *process) {
	if parent == nil {
		return
	}
	p.stepping = parent.stepping
	if parent.filters > 0 && filters(p.pid) == filters(parent.pid) {
		p.filters, p.guarded, p.sendsOn = parent.filters, parent.guarded, slices.Clone(parent.sendsOn)
		p.trafficFrom, p.trafficTo, p.connects = parent.trafficFrom, parent.trafficTo, parent.connects
	}
}
