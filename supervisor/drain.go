package supervisor

import (
	"errors"
	"maps"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/generation"
	"hupt/tracer"
)

// How often a drain looks. A look at n connections costs about a
// microsecond each; one never takes more than a tenth of the time.
const (
	drainTick    = 10 * time.Millisecond
	drainTickMax = 500 * time.Millisecond
	drainCost    = 10
	drainedTick  = time.Second // none is left, and nothing can be accepted
	pokeTick     = 100 * time.Millisecond
	tellTick     = 250 * time.Millisecond // as many are left, but in other states
)

var errEnding = errors.New("a process of the generation is ending")

// drain counts the connections of a quiesced generation until over is closed.
func (s *Supervisor) drain(g *gen, over <-chan struct{}) {
	h := hastening{s: s, g: g}
	waited, abandoned := s.waitedFor(g.serves)
	d, a := newDrainage(waited), newDrainage(abandoned)
	last, lastAbandoned := -1, 0
	var told counts
	var toldAt time.Time
	unfinished, wasOpen := g.unfinished, false
	answersSince := time.Now()
	poked := time.Now()
	left, cut, looked, received := -1, 0, time.Time{}, true
	var pids []int
	surplus := newSurplusDrain(g)
	runtime.LockOSThread() // for threadTime
	defer runtime.UnlockOSThread()
	for {
		spent := threadTime()
		accepts := !s.drainSurplus(g, surplus, over)
		receives := accepts || unfinished
		var err error
		if left != 0 || cut != 0 || receives || received || time.Since(looked) >= drainedTick {
			looked, received = time.Now(), receives
			were := pids
			pids = s.tracer.Pids(g.traced)
			left, err = d.look(pids, func() []int { return s.otherPids(g) })
			if err == nil && !accepts { // what is accepted just now is not idle
				h.step(d.open)
			}
			if len(abandoned) > 0 && err == nil {
				cut, err = a.look(pids, func() []int { return nil })
			}
			// A process that was made to end closes its connections one by one:
			// these are cut, and were counted.
			if err == nil && g.ending.Load() && (!slices.Equal(pids, were) || slices.ContainsFunc(pids, fdtable.Ending)) {
				err = errEnding
			}
			if err != nil {
				left = -1
			}
		}
		if receives {
			answersSince = time.Now()
		}
		open := receives || s.answers(g, answersSince)
		switch n := g.conns.counts(); {
		case err != nil:
		case left != last || cut != lastAbandoned || open != wasOpen:
			last, lastAbandoned, wasOpen, told, toldAt = left, cut, open, n, time.Now()
			s.later(generation.Counted{N: g.n, Left: left, Abandoned: cut, Open: open})
		case n != told && time.Since(toldAt) >= tellTick:
			told, toldAt = n, time.Now()
			s.tellCounts(g, left)
		}
		if unfinished {
			left, err := s.tracer.QuiesceRest(g.traced, g.held)
			unfinished = err == nil && len(left) > 0
		}
		if last > 0 && time.Since(poked) >= pokeTick {
			poked = time.Now()
			s.tracer.Poke(g.traced)
		}
		pause := min(max(drainTick, drainCost*(threadTime()-spent)), drainTickMax)
		select {
		case <-over:
			return
		case <-s.done:
			return
		case <-g.hurry:
		case <-time.After(pause):
		}
	}
}

// How long a generation may take to answer datagrams that it received while it
// could: answerTime, and as long again after each answer that hupt sees, but not longer
// than answerMost. Nothing tells when it has answered them all.
const (
	answerTime = 2 * time.Second
	answerMost = 10 * time.Second
)

// answers reports whether a generation that could receive until since is to
// have time to answer datagrams.
func (s *Supervisor) answers(g *gen, since time.Time) bool {
	answers, last := s.tracer.Answers(g.traced)
	switch {
	case !answers:
		return false
	case time.Since(since) < answerTime:
		return true
	case time.Since(since) < answerMost && time.Since(last) < answerTime:
		return true
	}
	return s.tracer.Unread(g.traced)
}

// threadTime is the processor time that the calling thread has used. What a
// look costs is not how long it waited for others on a busy machine.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// waitedFor is those of names whose connections a drain waits for, and those
// whose connections are abandoned.
func (s *Supervisor) waitedFor(names []tracer.Name) (waited, abandoned []tracer.Name) {
	for _, n := range names {
		if s.cfg.drainMode(n.Address.Port()) == DrainNone {
			abandoned = append(abandoned, n)
		} else {
			waited = append(waited, n)
		}
	}
	return waited, abandoned
}

// otherPids is the processes of every generation but g.
func (s *Supervisor) otherPids(g *gen) (pids []int) {
	var others []*tracer.Generation
	s.call(func() {
		for _, o := range s.gens {
			if o != g && o.traced != nil {
				others = append(others, o.traced)
			}
		}
	})
	for _, o := range others {
		pids = append(pids, s.tracer.Pids(o)...)
	}
	if s.member != nil {
		pids = append(pids, s.member.pool.pids(s.member)...)
	}
	return pids
}

// ofProcesses is those of the open connections that some process has.
func ofProcesses(pids []int, open map[uint64]bool) map[uint64]bool {
	if len(open) == 0 {
		return nil
	}
	out := fdtable.Open(slices.Values(pids))
	maps.DeleteFunc(out, func(inode uint64, _ bool) bool { return !open[inode] })
	return out
}

// listener is the eldest of pids that listens on something; 0: none does.
func (s *Supervisor) listener(pids []int) int {
	listening, err := fdtable.DumpAll(fdtable.Listening)
	if err != nil {
		return 0
	}
	listening = append(listening, s.datagramServers()...)
	open := make(map[uint64]bool)
	for _, l := range listening {
		open[l.Inode] = true
	}
	for _, pid := range pids {
		if len(ofProcesses([]int{pid}, open)) > 0 {
			return pid
		}
	}
	return 0
}
