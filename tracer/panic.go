package tracer

import (
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Panic is a fault of hupt's own, with what is needed to find it.
type Panic struct {
	Value any
	Stack string
	Stops []string // the last ones of the tracer, the oldest first
}

func (p *Panic) Error() string { return fmt.Sprint(p.Value) }

// mishapsMax is after how many panics at stops the tracer is not to be trusted
// any more: one that fails at each stop of a kind is no accident.
const mishapsMax = 3

// lastStop is one of the tracer's last stops.
type lastStop struct {
	at   time.Time
	tid  int
	what stop
}

// lastStops is a ring of them.
type lastStops struct {
	ring [64]lastStop
	next int
}

func (l *lastStops) note(tid int, s stop) {
	l.ring[l.next] = lastStop{time.Now(), tid, s}
	l.next = (l.next + 1) % len(l.ring)
}

func (l *lastStops) words() (out []string) {
	for n := range l.ring {
		s := l.ring[(l.next+n)%len(l.ring)]
		if !s.at.IsZero() {
			out = append(out, fmt.Sprintf("%s task %d: %s", s.at.Format("15:04:05.000000"), s.tid, s.what.name()))
		}
	}
	return out
}

// AsPanic is what recover gave as a Panic; nil: it gave nothing. It is called by
// the function that recovers, while the stack is still there.
func AsPanic(value any) *Panic {
	switch v := value.(type) {
	case nil:
		return nil
	case *Panic:
		return v
	}
	return &Panic{Value: value, Stack: string(debug.Stack())}
}

// panicked is AsPanic with the last stops. It is for the tracer's thread.
func (t *Tracer) panicked(value any) *Panic {
	p := AsPanic(value)
	if p != nil && p.Stops == nil {
		p.Stops = t.last.words()
	}
	return p
}

// handleSafely is handle. A panic costs what the stop was for, and nothing
// else: the task goes on as if hupt had not looked.
func (t *Tracer) handleSafely(pid int, ws unix.WaitStatus) {
	defer func() {
		if p := t.panicked(recover()); p != nil {
			t.mishaps++
			if k := t.tasks[pid]; k != nil {
				t.giveBack(k)
				t.resume(k, 0)
			}
			if t.onPanic != nil {
				go t.onPanic(p, t.mishaps > mishapsMax)
			}
		}
	}()
	t.handle(pid, ws)
}

// giveBack gives a task that stands still what an injection that was broken off
// has changed: its registers and its mask. It reports whether there was one.
func (t *Tracer) giveBack(k *task) bool {
	i := k.injection
	if i == nil {
		return false
	}
	k.injection = nil
	r := i.saved
	if i.atCall {
		restart(&r) // the call that it stood at was not made
	}
	setRegisters(k.tid, r)
	setSigmask(k.tid, i.mask)
	i.restoreFilters()
	// Only on the way out of a stop like this does the kernel look whether a call
	// is to be made again.
	interrupt(k.tid)
	return true
}

// LastStops are the last stops of the thread, the oldest first.
func (t *Tracer) LastStops() (out []string) {
	t.Do(func() { out = t.last.words() })
	return out
}

// after runs f on the tracer's thread after a while. There is nobody whom a
// panic of it could reach but whoever owns the tracer.
func (t *Tracer) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		defer func() {
			if p := AsPanic(recover()); p != nil && t.onPanic != nil {
				t.onPanic(p, true)
			}
		}()
		t.Do(f)
	})
}

// LetGo is for the end of hupt by a fault of its own: nothing that it traces
// keeps anything of it, and nothing stands still. When the process ends, the
// kernel lets all of it run on. Generations that are not among keep are killed;
// nil: none is.
func (t *Tracer) LetGo(keep []*Generation) { t.letGoOf(t.notes, keep) }

// LetGo is Tracer.LetGo; only generations of this branch are killed.
func (b *Branch) LetGo(keep []*Generation) { b.letGoOf(b.notes, keep) }

func (t *Tracer) letGoOf(mine *notes, keep []*Generation) {
	t.Do(func() {
		for _, g := range t.generations {
			g.watching = false
			if keep != nil && g.notes == mine && !slices.Contains(keep, g) {
				t.kill(g)
			}
		}
		for _, k := range t.tasks {
			if t.giveBack(k) {
				t.resume(k, 0)
			}
		}
		for _, p := range t.procs {
			p.kept, p.stepping, p.freezes, p.frozen = false, false, 0, false
			for _, k := range p.tasks {
				switch {
				case k.frozen:
					t.letGo(k)
				case k.held, k.parked:
					t.resume(k, 0)
				}
			}
		}
	})
}
