package generation

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// happening is something that can happen in the world now.
type happening func()

// answers are what the machine waits for: what it asked for, counts, and the
// ends of what was killed.
func (w *world) answers() (out []happening) {
	for _, n := range slices.Sorted(maps.Keys(w.gens)) {
		g := w.gens[n]
		if g.preparing {
			out = append(out, func() { w.prepare(g) })
			continue
		}
		if g.launching && g.executing > 0 {
			out = append(out, func() { w.execute(g) })
			continue
		}
		if g.launching {
			out = append(out, func() { w.launch(g) })
			continue
		}
		if g.quiescing > 0 {
			out = append(out, func() { w.quiesce(g) })
		}
		if g.resuming > 0 && g.quiescing == 0 {
			out = append(out, func() {
				g.resuming--
				g.quiesced = false
				w.step(Resumed{n})
			})
		}
		if g.checking > 0 {
			out = append(out, func() { w.listens(g) })
		}
		if g.draining && g.told != g.conns {
			out = append(out, func() { g.told = g.conns; w.step(Counted{N: n, Left: g.conns}) })
		}
		if g.killed && len(g.procs) > 0 {
			out = append(out, func() { w.exit(g, w.pick(len(g.procs))) })
		}
	}
	if w.due {
		out = append(out, func() {
			w.due = false
			if w.m.Reviving() {
				w.step(ReviveDue{w.m.Next()})
			}
		})
	}
	if len(w.late) > 0 {
		out = append(out, func() {
			e := w.late[0]
			w.late = w.late[1:]
			w.step(e)
		})
	}
	return out
}

// chances are what happens by itself: programs go on or die, clients come and
// leave, somebody signals.
func (w *world) chances() (out []happening) {
	for _, n := range slices.Sorted(maps.Keys(w.gens)) {
		g := w.gens[n]
		if !g.launched || len(g.procs) == 0 {
			continue
		}
		out = append(out, func() { w.progress(g) })
		if w.policy.Ready != ByAccept && !g.word && (g.p.complete() || !w.calm || w.policy.Ready == ByBoth) {
			out = append(out, func() { g.word = true; w.step(Told{n}) })
		}
		if w.mayDie(g) {
			out = append(out, func() { w.exit(g, w.pick(len(g.procs))) })
		}
		if len(g.procs) < 3 {
			out = append(out, func() { g.procs = append(g.procs, g.nextPID); g.nextPID++ })
		}
		if g.p.Waiting > 0 && !g.quiesced {
			out = append(out, func() { g.conns++ })
		}
		if g.conns > 0 {
			out = append(out, func() { g.conns-- })
		}
	}
	s := w.gens[w.m.Serving()]
	can := s != nil && (!w.calm || s.p.complete()) || w.m.recovery != nil
	if can && !w.stopped && w.m.Busy() == "" {
		out = append(out, w.restart)
	}
	if w.pick(10) == 0 {
		out = append(out, func() { w.step(HammerWanted{}) })
	}
	if w.pick(20) == 0 {
		out = append(out, func() {
			w.stopped = true
			if w.pick(3) == 0 {
				w.step(RetireWanted{})
				return
			}
			w.step(StopWanted{Signal: 15, Now: w.pick(4) == 0, Sent: w.pick(2) == 0})
		})
	}
	return out
}

// mayDie: in a calm world, only generations that nothing relies on die.
func (w *world) mayDie(g *popul) bool {
	return !w.calm || g.signalled || w.stopped || g.n > 1 && !g.confirmed && w.m.isComing(g.n)
}

// isComing reports whether n is to come to serve.
func (m *Machine) isComing(n int) bool { return (&step{Machine: m}).isNew(&Gen{Number: n}) }

// execute gives the process of the old generation to the new one, or fails to,
// or ends it.
func (w *world) execute(g *popul) {
	old := w.gens[g.executing]
	switch {
	case old == nil || !slices.Contains(old.procs, old.main) || w.pick(5) == 0:
		g.launching, g.executing = false, 0
		w.step(ExecuteFailed{g.n, "no"})
	default:
		g.launching, g.launched, g.procs, g.nextPID = false, true, []int{0}, 1
		old.procs = nil
		w.step(Executed{g.n, old.n, g.p.Offered, g.p.Addresses})
	}
}

func (w *world) prepare(g *popul) {
	g.preparing = false
	if g.n > 1 && w.pick(5) == 0 {
		w.step(LaunchFailed{g.n, "no"})
		delete(w.gens, g.n)
		return
	}
	w.step(Prepared{g.n})
}

func (w *world) launch(g *popul) {
	g.launching = false
	if g.n > 1 && !w.ending && w.pick(5) == 0 {
		delete(w.gens, g.n)
		w.step(LaunchFailed{g.n, "no"})
		return
	}
	g.launched, g.procs, g.nextPID = true, []int{0}, 1
	w.step(Launched{g.n, g.p.Offered, g.p.Addresses})
}

func (w *world) quiesce(g *popul) {
	g.quiescing--
	if w.pick(6) == 0 {
		w.step(QuiesceFailed{g.n, "no"})
		return
	}
	g.quiesced = true
	w.step(Quiesced{g.n})
}

func (w *world) listens(g *popul) {
	g.checking--
	on := g.p.Listening > 0 && len(g.procs) > 0
	if on {
		g.main = g.procs[0]
	}
	w.step(Listened{g.n, on})
}

func (w *world) exit(g *popul, i int) {
	pid := g.procs[i]
	g.procs = slices.Delete(g.procs, i, i+1)
	last := len(g.procs) == 0
	if last {
		g.conns = 0
	}
	w.step(Exited{N: g.n, Main: pid == g.main, Last: last, Exit: Exit{Code: w.pick(2)}})
}

// progress lets a program adopt, listen or wait, once.
func (w *world) progress(g *popul) {
	p := g.p
	switch w.pick(4) {
	case 0:
		if p.Adopted < p.Offered {
			p.Adopted++
			p.Kept = min(p.Adopted, p.Addresses)
		}
	case 1, 2:
		if p.Listening < p.Adopted || p.Listening == 0 {
			p.Listening++
		}
	case 3:
		if p.Waiting < p.Listening {
			p.Waiting++
		}
	}
	if p != g.p {
		g.p = p
		w.step(Progressed{g.n, p})
	}
}

// run lets much happen, then lets all that is under way come to its end.
func (w *world) run(steps int) {
	for range steps {
		if w.ended || w.bad != "" {
			return
		}
		answers, chances := w.answers(), w.chances()
		n := w.pick(len(answers) + len(chances) + 1)
		switch {
		case n < len(answers):
			answers[n]()
		case n < len(answers)+len(chances):
			chances[n-len(answers)]()
		case len(w.deadlines()) > 0 || !w.retry.IsZero():
			w.fire()
		}
		w.now = w.now.Add(time.Duration(w.pick(100)) * time.Millisecond)
	}
	w.ending = true
	for range 1000 {
		if answers := w.answers(); len(answers) > 0 {
			answers[w.pick(len(answers))]()
		} else if g := w.attempt(); g != nil && w.pick(2) == 0 {
			w.completes(g)
		} else if len(w.deadlines()) > 0 || !w.retry.IsZero() {
			w.fire()
		} else if !w.leave() {
			break
		}
		if w.ended || w.bad != "" {
			return
		}
	}
	if !w.ended {
		w.atRest()
	}
}

// attempt is the attempt to start what served before that is in progress, once
// it lives and until it serves; nil: none.
func (w *world) attempt() *popul {
	if w.m.recovery == nil {
		return nil
	}
	g := w.gens[w.m.recovery.number]
	if g == nil || !g.launched || len(g.procs) == 0 || g.killed || g.signalled || w.m.Gen(g.n).Phase != Starting {
		return nil
	}
	return g
}

// completes lets a program do all that is expected of it.
func (w *world) completes(g *popul) {
	n := max(1, g.p.Offered)
	g.p.Adopted, g.p.Listening, g.p.Waiting = g.p.Offered, n, n
	w.step(Progressed{g.n, g.p})
	if w.m.Gen(g.n) != nil {
		w.step(Told{g.n})
	}
}

// leave lets the clients of a drain without a deadline go.
func (w *world) leave() bool {
	for _, g := range w.gens {
		if g.draining && g.conns > 0 && !g.signalled && w.policy.DrainTimeout < 0 && w.m.Gen(g.n).Phase == Draining {
			g.conns = 0
			return true
		}
	}
	return false
}

// atRest: nothing is under way, so there is nothing but one that serves.
func (w *world) atRest() {
	if w.pending != 0 {
		w.fail("restart %d was never decided", w.pending)
	}
	if w.stopped {
		w.fail("it was told to stop and goes on")
	}
	for _, g := range w.m.Gens() {
		if g.Number != w.m.Serving() {
			w.fail("generation %d is %v for ever", g.Number, g.Phase)
		}
	}
	if len(w.m.Gens()) == 0 {
		w.fail("nothing is left, and it goes on")
	}
}

func randomPolicy(pick func(int) int) Policy {
	p := Policy{ReadyTimeout: time.Minute, DrainTimeout: time.Minute, KillAfter: 10 * time.Second}
	p.Revive = [...]Revive{ReviveNever, ReviveOnFailure, ReviveAlways}[pick(3)]
	p.ReviveMax = pick(3)
	p.ReviveDelay, p.ReviveReset = time.Millisecond, 100*time.Millisecond
	p.Ready = [...]Readiness{ByAccept, ByAccept, ByWord, ByBoth}[pick(4)]
	switch pick(6) {
	case 0:
		p.DrainTimeout = -1
	case 1:
		p.DrainTimeout = 0
	case 2:
		p.KillAfter = 0
	case 3:
		p.BlindReady = true
	case 4:
		p.ReadyTimeout = 100 * time.Millisecond
	}
	return p
}

// TestRandom plays worlds in which anything happens at any time, and worlds
// that are calm: there, at every moment somebody accepts connections.
func TestRandom(t *testing.T) {
	worlds := 3000
	if testing.Short() {
		worlds = 300
	}
	for seed := range worlds {
		r := rand.New(rand.NewPCG(uint64(seed), 0))
		w := newWorld(randomPolicy(r.IntN), r.IntN)
		w.calm = seed%2 == 0
		w.run(20 + r.IntN(200))
		if w.bad != "" {
			t.Fatalf("seed %d, %+v: %s", seed, w.policy, w.bad)
		}
	}
}

// FuzzMachine is the same, with the choices made by the fuzzer.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("a restart, and what becomes of it"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		pick := func(n int) int {
			if len(choices) == 0 || n <= 0 {
				return 0
			}
			c := int(choices[0]) % n
			choices = choices[1:]
			return c
		}
		w := newWorld(randomPolicy(pick), pick)
		w.calm = pick(2) == 0
		w.run(len(choices))
		if w.bad != "" {
			t.Fatal(w.bad)
		}
	})
}
