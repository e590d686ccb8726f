package tracer

import (
	"errors"
	"fmt"
	"maps"
	"os"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// Quiesce makes generation g stop accepting on the held sockets without it
// noticing: in every process of it, each is swapped for a dummy. It returns
// the processes that could not be done yet, because they did not stop in time
// (a parent in vfork); call it again for them.
//
// goes: g goes before anybody can adopt what it has.
//
// Afterwards the held sockets get the O_NONBLOCK that the next generation's
// own sockets had before they were swapped for them.
func (t *Tracer) Quiesce(g *Generation, held []*Held, goes bool) (left []int, err error) {
	t.awaitTwins(held)
	t.Do(func() {
		for _, h := range held {
			h.goes = goes
		}
		g.quiesced, g.lets = true, held
		t.dropCaught(g)
		if left, err = t.quiesce(g, held); err == nil {
			t.release(g)
			t.flagsLater()
			t.silence(g, held)
		}
	})
	return left, err
}

// QuiesceRest is Quiesce for processes that were left over. It does nothing if
// g was resumed meanwhile.
func (t *Tracer) QuiesceRest(g *Generation, held []*Held) (left []int, err error) {
	t.Do(func() {
		if g.quiesced {
			left, err = t.quiesce(g, held)
		}
	})
	return left, err
}

func (t *Tracer) quiesce(g *Generation, held []*Held) (left []int, err error) {
	swap := make(map[uint64]int)
	for _, h := range held {
		if !h.passes() {
			continue
		}
		d := g.dummies[h.Inode]
		if d == nil {
			if h.Name.udp() {
				if d = t.datagramDummy(g, h); d == nil {
					continue
				}
			} else if d, err = newDummy(h); err != nil {
				return nil, err
			}
			if g.dummies == nil {
				g.dummies = make(map[uint64]*dummy)
			}
			g.dummies[h.Inode] = d
		}
		swap[h.Inode] = d.fd
	}
	unguarded, err := t.guardPaths(g, held)
	if err != nil {
		return nil, err
	}
	left, err = t.swap(g, swap)
	return append(left, unguarded...), err
}

// passes reports whether the generation that had the socket is to let go of it.
// Internet listeners always: what is not adopted now may be before it has gone.
// Datagram sockets and Unix listeners only once another generation adopted
// them: many are a program's own, between its processes, under a name that
// will never come again. If the old one goes first, that can't be awaited.
func (h *Held) passes() bool {
	return h.FD >= 0 && (h.goes || h.adopted || h.surplus || h.Name.Family != unix.AF_UNIX && !h.Name.Datagram())
}

// Resume undoes a Quiesce: the dummies are swapped for the held sockets again.
func (t *Tracer) Resume(g *Generation, held []*Held) (left []int, err error) {
	t.Do(func() {
		g.quiesced = false
		swap := make(map[uint64]int)
		for _, h := range held {
			if d := g.dummies[h.Inode]; d != nil && h.FD >= 0 {
				swap[d.inode] = h.FD
			}
		}
		left, err = t.swap(g, swap)
		if err == nil && len(left) == 0 {
			for _, h := range held {
				t.giveBackInside(h)
			}
			t.closeDummies(g)
		}
	})
	return left, err
}

// Settle says that g serves: what it listens on from here on is taken for
// good, and its sockets get the O_NONBLOCK that it asked for. Before, the
// generation before was using them, too.
func (t *Tracer) Settle(g *Generation) {
	t.Do(func() {
		g.settled = true
		t.fulfil(g)
		t.setFlags(g)
		t.release(g)
		if g.differs() { // from what others have that serve beside it
			g.keepFlags()
			t.watch(g)
			t.tell(Note{Kind: NoteWarning, Generation: g, Text: "it wants another O_NONBLOCK on what it listens on than the processes that serve beside it; it accepts once they have gone"})
		} else {
			g.letFlags()
			t.unwatch(g)
			g.forgetFlags()
		}
		maps.DeleteFunc(g.gathers, func(_ uint64, waited bool) bool { return !waited })
		g.settleModes()
		t.fulfilInside(g)
		t.nudge(g)
	})
}

// Unsettle takes Settle back: what g listens on is of interest again.
func (t *Tracer) Unsettle(g *Generation) { t.Do(func() { g.settled = false }) }

func (t *Tracer) closeDummies(g *Generation) {
	var inGroups []*dummy
	for inode, d := range g.dummies {
		delete(g.dummies, inode)
		if d.of != nil {
			inGroups = append(inGroups, d)
		} else {
			d.close()
		}
	}
	t.partDummies(inGroups)
}

// swap does Plan in every process of g that has a descriptor to swap, and again
// in those that were born meanwhile of one that was not done yet.
func (t *Tracer) swap(g *Generation, swap map[uint64]int) (left []int, err error) {
	want := make(map[uint64]bool, len(swap))
	for inode := range swap {
		want[inode] = true
	}
	done := make(map[int]bool)
	for {
		var todo []int
		for pid := range g.procs {
			if !done[pid] {
				todo = append(todo, pid)
			}
		}
		if len(todo) == 0 {
			return left, nil
		}
		for _, pid := range todo {
			done[pid] = true
			p := g.procs[pid]
			if p == nil || !holds(pid, want) {
				continue
			}
			err := t.swapIn(p, swap, want)
			switch {
			case err == nil, gone(err):
			case errors.Is(err, errNotFrozen), errors.Is(err, unix.EMFILE):
				// The latter as long as its connections fill its table.
				left = append(left, pid)
			default:
				return left, fmt.Errorf("process %d: %w", pid, err)
			}
		}
	}
}

// holds reports whether process pid has one of the wanted sockets open.
func holds(pid int, want map[uint64]bool) bool {
	sockets, err := fdtable.Sockets(pid)
	if err != nil {
		return false
	}
	for _, inode := range sockets {
		if want[inode] {
			return true
		}
	}
	return false
}

// errNotFrozen: no task of the process stopped in time.
var errNotFrozen = errors.New("no thread of it stopped")

func (t *Tracer) swapIn(p *process, swap map[uint64]int, want map[uint64]bool) error {
	return t.inject(p, func(i *injection) error {
		table, err := fdtable.Read(p.pid, func(inode uint64) bool { return want[inode] })
		if err != nil {
			return err
		}
		p.noteAcceptors(i)
		if err := i.traceAnswers(table, swap); err != nil {
			return err
		}
		return i.carryOut(fdtable.Plan(table, want), swap)
	})
}

// inject stops process p and lets f make calls in one of its tasks.
func (t *Tracer) inject(p *process, f func(*injection) error) error {
	t.freeze(p, freezeTimeout)
	defer t.thaw(p)
	if t.procs[p.pid] != p {
		return errGone
	}
	k := t.injector(p)
	if k == nil {
		return errNotFrozen
	}
	i, err := t.injectAtStop(k)
	if err != nil {
		if i != nil {
			i.endAtStop()
		}
		return err
	}
	err = f(i)
	if e := i.endAtStop(); err == nil {
		err = e
	}
	return err
}

// carryOut makes a plan's calls in the task.
func (i *injection) carryOut(plan []fdtable.Call, swap map[uint64]int) error {
	for n, c := range plan {
		err := i.carryOutCall(c, swap[c.Inode])
		if err == nil {
			continue
		}
		// What was taken out of an epoll set goes back, whether its descriptor
		// was swapped already or not.
		for _, c := range plan[n:] {
			if c.Op == fdtable.EpollAdd {
				i.carryOutCall(c, -1)
			}
		}
		return err
	}
	return nil
}

func (i *injection) carryOutCall(c fdtable.Call, replacement int) error {
	var err error
	switch c.Op {
	case fdtable.EpollDel:
		_, err = i.call("epoll_ctl", unix.SYS_EPOLL_CTL, uint64(c.Epoll), unix.EPOLL_CTL_DEL, uint64(c.FD), 0)
		if errors.Is(err, unix.ENOENT) {
			err = nil // removed through another descriptor of the same set
		}
	case fdtable.Dup:
		err = i.replace(c.FD, replacement, c.CloseOnExec)
	case fdtable.EpollAdd:
		var addr uint64
		if addr, err = i.put(atEvent, epollEvent(c.Events, c.Data)); err != nil {
			return err
		}
		_, err = i.call("epoll_ctl", unix.SYS_EPOLL_CTL, uint64(c.Epoll), unix.EPOLL_CTL_ADD, uint64(c.FD), addr)
		if errors.Is(err, unix.EEXIST) {
			err = nil
		}
	}
	return err
}

// noteAcceptors remembers which tasks of p are in accept() on a socket that is
// about to be swapped for a dummy, and are where they want to be: the program
// waits in accept(). One that polls first is there by chance (somebody else took
// what it saw), and has other things to do. i is the injection in one of them,
// whose registers are not its own for now.
func (p *process) noteAcceptors(i *injection) {
	p.atAccept, p.poked = make(map[int]bool), make(map[int]int)
	for tid, k := range p.tasks {
		if !k.frozen {
			continue
		}
		r, err := i.saved, error(nil)
		if k != i.k {
			r, err = getRegisters(tid)
		}
		if err != nil || !inSyscall(&r) || waitCall(syscallNumber(&r)) != waitAccept {
			continue
		}
		inode, ok := fdtable.SocketInode(tid, int(int32(arguments(&r)[0])))
		p.atAccept[tid] = ok && p.gen.acceptors[inode]
	}
}

// maxPokes bounds how often one task is freed from accept() on a dummy: the
// poke may wake another one that waits there.
const maxPokes = 3

// Poke frees tasks of a quiesced generation that are stuck in accept() on a
// dummy. A program that polls and then calls a blocking accept() may have
// polled just before it was quiesced; if it serves its connections from that
// same thread, they would hang. It sees a client that left at once.
func (t *Tracer) Poke(g *Generation) {
	t.Do(func() {
		for _, d := range g.dummies {
			// Where the program waits in accept() itself, its tasks are where they want to be.
			if d.nonBlock || d.kind == unix.SOCK_DGRAM || g.acceptors[d.held.Inode] {
				continue
			}
			for pid, p := range g.procs {
				t.pokeIn(pid, p, d)
			}
		}
	})
}

func (t *Tracer) pokeIn(pid int, p *process, d *dummy) {
	if p.poked == nil {
		p.poked = make(map[int]int) // it was born after the quiesce
	}
	for tid := range p.tasks {
		if p.atAccept[tid] || p.poked[tid] >= maxPokes {
			continue
		}
		nr, args, ok := currentCall(pid, tid)
		if !ok || waitCall(nr) != waitAccept {
			continue
		}
		if inode, ok := fdtable.SocketInode(tid, int(int32(args[0]))); ok && inode == d.inode {
			p.poked[tid]++
			d.poke()
		}
	}
}

// currentCall is the system call that a running task is blocked in
// (/proc/PID/syscall, proc(5)).
func currentCall(pid, tid int) (nr int, args [6]uint64, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
	if err != nil {
		return 0, args, false
	}
	n, _ := fmt.Sscanf(string(b), "%d 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x",
		&nr, &args[0], &args[1], &args[2], &args[3], &args[4], &args[5])
	return nr, args, n == 7
}
