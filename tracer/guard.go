package tracer

import (
	"errors"
	"fmt"
	"slices"

	"hupt/seccomp"
)

// Guard makes generation g stop at what takes a path away, if one of the held
// sockets has a path: hupt keeps it for what comes after g.
func (t *Tracer) Guard(g *Generation, held []*Held) (err error) {
	t.Do(func() {
		if slices.ContainsFunc(held, func(h *Held) bool { return h.file != nil }) {
			_, err = t.guardAll(g)
		}
	})
	return err
}

// guardAtCall is Guard for the generation of task k, which stands at a call: its
// path is to stay from then on. The task makes the call again, unless it reports
// false: it stands there still. Processes that don't stop in time, and whatever
// else is in the way, are left to the looks.
func (t *Tracer) guardAtCall(k *task) (again bool) {
	p := k.proc
	if p.gen.guarded || p.guarded {
		return false
	}
	program, err := seccomp.Trace(seccomp.Paths)
	if err != nil {
		return false
	}
	i, err := t.injectAtCall(k)
	if i == nil {
		return false
	}
	if err == nil && i.addFilter(program) == nil {
		p.guarded = true
	}
	i.endAgain(0)
	t.guardAll(p.gen)
	return true
}

// guardPaths makes a generation that is being quiesced stop at what takes a path
// away, since another one has a Unix path of it by now. A generation whose
// predecessor had such a path was launched so. It returns the processes that
// did not stop in time.
func (t *Tracer) guardPaths(g *Generation, held []*Held) (left []int, err error) {
	if !slices.ContainsFunc(held, func(h *Held) bool { return h.file != nil && h.passes() }) {
		return nil, nil
	}
	return t.guardAll(g)
}

func (t *Tracer) guardAll(g *Generation) (left []int, err error) {
	if g.guarded {
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
