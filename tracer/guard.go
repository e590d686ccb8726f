package tracer

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"hupt/seccomp"
)

// guardPaths makes a generation that is being quiesced stop at what takes a path
// away, since another one has a Unix path of it by now. A generation whose
// predecessor had such a path was launched so. It returns the processes that
// did not stop in time.
func (t *Tracer) guardPaths(g *Generation, held []*Held) (left []int, err error) {
	if g.guarded || !slices.ContainsFunc(held, func(h *Held) bool { return h.file != nil && h.passes() }) {
		return nil, nil
	}
	program, err := seccomp.Trace(seccomp.Paths)
	if err != nil {
		return nil, err
	}
	// Again for those that were born meanwhile.
	tried := make(map[int]bool)
	for {
		var todo []*process
		for pid, p := range g.procs {
			if !p.guarded && !tried[pid] {
				todo = append(todo, p)
			}
		}
		if len(todo) == 0 {
			return left, nil
		}
		for _, p := range todo {
			tried[p.pid] = true
			err := t.inject(p, func(i *injection) error { return i.addFilter(program) })
			switch {
			case err == nil:
				p.guarded = true
			case gone(err):
			case errors.Is(err, errNotFrozen):
				left = append(left, p.pid)
			default:
				return left, fmt.Errorf("process %d: %w", p.pid, err)
			}
		}
	}
}

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
		if err == nil && tid != 0 {
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

// inheritGuard is whether a process that was just born has the filter that was
// put on its parent.
func inheritGuard(parent *process, pid int) bool {
	return parent != nil && parent.guarded && filters(pid) == filters(parent.pid)
}
