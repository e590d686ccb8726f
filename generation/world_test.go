package generation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// world is what a machine acts on: processes, sockets, timers, and work that
// is under way, each so far as the policy can tell. It lets happen what can
// happen, chosen by pick, and checks what the machine does about it.
type world struct {
	m      *Machine
	policy Policy
	now    time.Time
	pick   func(n int) int // a number below n
	log    []string

	gens    map[int]*popul
	late    []Event // answers about generations that have gone
	pending int     // the restart that is to be decided; 0: none
	mode    Mode    // of that

	addresses Addresses // that it must take over

	alone   bool      // what was launched last for a restart was launched alone
	retry   time.Time // when the instance's timer runs out; zero: it does not run
	held    int       // sockets of the last generation that gave way
	next    int       // the restart that was asked for last
	stopped bool      // a stop was asked for
	due     bool      // a revival was
	calm    bool      // only new generations fail, and only before they are confirmed
	ended   bool
	ending  bool   // what is under way comes to its end: what is launched is good
	bad     string // the first invariant that was broken
}

// popul is the world's side of a generation: what lives.
type popul struct {
	n         int
	launched  bool // its launch was told
	procs     []int
	main      int
	nextPID   int
	p         Progress
	conns     int
	quiesced  bool
	confirmed bool
	draining  bool // connections are being counted
	told      int  // the last count; -1: none
	signalled bool
	killed    bool
	preparing bool
	word      bool // it was said to be ready
	launching bool
	executing int // the generation whose process it is to get; 0: it is launched
	quiescing int // answers that are due
	resuming  int
	checking  int
	forgotten bool
	timers    map[Timer]time.Time
}

func newWorld(p Policy, pick func(int) int) *world {
	w := &world{m: New(p), policy: p, pick: pick, gens: map[int]*popul{}, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	w.restart()
	return w
}

func (w *world) fail(format string, args ...any) {
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...) + "\n" + strings.Join(w.log, "\n")
	}
}

func (w *world) restart() {
	e := RestartWanted{N: w.m.Next()}
	if e.N > 1 {
		e.Mode, e.Addresses = Mode(w.pick(3)), Addresses(w.pick(3))
		w.step2(e)
		return
	}
	w.step(e)
}

// step2 begins a restart; one that failed and is not decided yet is, first.
func (w *world) step2(e RestartWanted) {
	was := w.pending
	w.mode, w.addresses = e.Mode, e.Addresses
	w.next = e.N
	if was == 0 {
		w.pending = e.N
	}
	w.step(e)
}

func (w *world) step(e Event) {
	if w.ended {
		return
	}
	actions := w.m.Step(e, w.now)
	w.log = append(w.log, fmt.Sprintf("%T%+v => %s", e, e, actionWords(actions)))
	for _, a := range actions {
		w.act(a)
	}
	w.check()
}

// needsProcess is the generation that an action can only be done to once its
// launch was heard of: before, it has no process that anybody knows. 0: none.
func needsProcess(a Action) int {
	switch a := a.(type) {
	case Quiesce:
		return a.N
	case Resume:
		return a.N
	case Settled:
		return a.N
	case Admit:
		return a.N
	case Drain:
		return a.N
	case Signal:
		return a.N
	case CheckListening:
		return a.N
	case Execute:
		return a.Old
	case Recovered:
		return a.N
	}
	return 0
}

// act does what the machine says, and checks that it may say so.
func (w *world) act(a Action) {
	if n := needsProcess(a); n != 0 && (w.gens[n] == nil || !w.gens[n].launched) {
		w.fail("%T of generation %d, whose launch was not heard of", a, n)
		return
	}
	switch a := a.(type) {
	case ReviveAfter:
		if w.due || w.stopped || w.m.Serving() != 0 {
			w.fail("a revival too many")
		}
		w.due = true
	case Prepare:
		w.bear(a.N).preparing = true
	case Launch:
		w.mayLaunch(a)
		if a.Again > 0 {
			w.bear(a.N)
		}
		w.offer(a.N)
		w.gens[a.N].launching = true
	case Execute:
		w.mayExecute(a)
		w.offer(a.N)
		w.gens[a.N].launching, w.gens[a.N].executing = true, a.Old
	case Quiesce:
		w.mayQuiesce(a.N)
		w.gens[a.N].quiescing++
	case Resume:
		w.gens[a.N].resuming++
	case Drain:
		if w.gens[a.N].quiescing > 0 {
			w.fail("drain of %d before it is quiesced", a.N)
		}
		w.gens[a.N].draining, w.gens[a.N].told = true, -1
	case Signal:
		w.mayEnd(a.N, "signalled")
		w.gens[a.N].signalled = true
	case Kill:
		w.mayEnd(a.N, "killed")
		if w.gens[a.N].launched {
			w.gens[a.N].killed = true
		}
	case CheckListening:
		w.gens[a.N].checking++
	case SetTimer:
		if a.Timer == RetryTimer {
			w.retry = w.now.Add(a.After)
			return
		}
		w.gens[a.N].timers[a.Timer] = w.now.Add(a.After)
	case ClearTimer:
		if a.Timer == RetryTimer {
			w.retry = time.Time{}
			return
		}
		delete(w.gens[a.N].timers, a.Timer)
	case Forget:
		w.gens[a.N].forgotten = true
		w.forget(a.N)
	case Report:
		if a.Kind == "confirmed" {
			w.gens[a.N].confirmed = true
		}
		if a.Cut > 0 && a.Kind != "gone" {
			w.fail("connections cut by %s", a.Kind)
		}
	case Decided:
		if w.pending != a.N {
			w.fail("restart %d was decided, %d is pending", a.N, w.pending)
		}
		w.pending = 0
		if w.next > a.N { // it took the other's place
			w.pending = w.next
		}
	case Recovered:
		if a.N != w.m.Serving() {
			w.fail("recovered by %d, which does not serve", a.N)
		}
	case End:
		if w.ended {
			w.fail("ended twice")
		}
		w.ended = true
	}
}

// bear makes a generation that is to be launched.
func (w *world) bear(n int) *popul {
	if old := w.gens[w.m.Serving()]; old != nil {
		w.held = old.p.Listening
	}
	g := &popul{n: n, told: -1, timers: map[Timer]time.Time{}}
	w.gens[n] = g
	return g
}

// offer gives a generation what is held.
func (w *world) offer(n int) {
	if old := w.gens[w.m.Serving()]; old != nil && w.mode == StartFirst {
		w.held = old.p.Listening
	}
	if n > 1 {
		w.gens[n].p.Offered = w.held
		w.gens[n].p.Addresses = w.pick(w.held + 1)
	}
}

// mayLaunch: where two must not run at once, they don't; and what served before
// is only started again when nothing serves or is to come to serve.
func (w *world) mayLaunch(a Launch) {
	if a.Again == 0 {
		w.alone = a.N > 1 && w.m.restart != nil && w.m.restart.mode == StopFirst
	}
	if w.alone && w.runs() > 0 {
		w.fail("launch of %d beside others", a.N)
	}
	if a.Again > 0 && (w.m.Serving() != 0 || w.stopped) {
		w.fail("launch of what served before, while %d serves", w.m.Serving())
	}
}

// runs is how many generations have processes, or may.
func (w *world) runs() (n int) {
	for _, g := range w.gens {
		if g.launching || g.launched {
			n++
		}
	}
	return n
}

// mayExecute: the old generation has no connection left, or had its time.
func (w *world) mayExecute(a Execute) {
	old := w.gens[a.Old]
	w.alone = false
	if !old.quiesced || old.told != 0 && !w.m.Gen(a.Old).Hammered {
		w.fail("execute %d in %d, which has not drained: %+v", a.N, a.Old, *old)
	}
}

// mayQuiesce: the serving generation only gives way to one that is ready, or
// was prepared if it is to go first.
func (w *world) mayQuiesce(n int) {
	if w.m.Gen(n).Failed || w.m.restart != nil && w.m.restart.mode != StartFirst && w.m.restart.stage == clearing {
		return
	}
	if w.stopped && n == w.m.Serving() {
		return // it retires: others have its sockets
	}
	next := w.gens[w.pending]
	if next != nil && w.policy.Ready != ByAccept && !next.word {
		w.fail("quiesce of %d for %d, which nobody said is ready", n, w.pending)
	}
	if next != nil && !next.keeps(w.addresses, w.policy) {
		w.fail("quiesce of %d for %d, which has too few of its addresses: %+v", n, w.pending, next.p)
	}
	if w.policy.Ready == ByWord {
		return
	}
	if next == nil || w.m.Gen(w.pending) == nil {
		w.fail("quiesce of %d for nobody", n)
		return
	}
	blind := w.policy.BlindReady && next.p.Listening > 0
	if !next.p.complete() && !next.p.enough(w.policy.BlindReady) && !blind {
		w.fail("quiesce of %d for %d, which is not ready: %+v", n, w.pending, next.p)
	}
}

// keeps reports whether a generation took over what it has to of the version before.
func (g *popul) keeps(a Addresses, p Policy) bool {
	switch a {
	case MayMove:
		return true
	case KeepAddresses:
		return g.p.Kept == g.p.Addresses
	}
	nothing := g.p.Listening+g.p.Adopted == 0 && g.p.Offered > 0 && !p.BlindReady
	return !nothing && (g.p.Kept > 0 || g.p.Addresses == 0)
}

// mayEnd: the serving generation is never ended unless a stop was asked for.
func (w *world) mayEnd(n int, how string) {
	goes := w.m.restart != nil && w.m.restart.mode == StopFirst && w.m.restart.stage == clearing && w.gens[n].quiesced
	if n == w.m.Serving() && !w.stopped && !goes {
		w.fail("generation %d was %s while it serves", n, how)
	}
	if w.gens[n].forgotten {
		w.fail("generation %d was %s when it had gone", n, how)
	}
}

// forget leaves the answers that are due to come late.
func (w *world) forget(n int) {
	g := w.gens[n]
	for range g.quiescing {
		w.late = append(w.late, Quiesced{n})
	}
	for range g.resuming {
		w.late = append(w.late, Resumed{n})
	}
	for range g.checking {
		w.late = append(w.late, Listened{n, false})
	}
	delete(w.gens, n)
}

// check is what holds after every step.
func (w *world) check() {
	serving := 0
	for _, g := range w.m.Gens() {
		if g.Phase == Serving {
			serving++
			if g.Number != w.m.Serving() && w.m.restart == nil {
				w.fail("generation %d is in phase serving, %d serves", g.Number, w.m.Serving())
			}
		}
		if w.gens[g.Number] == nil {
			w.fail("generation %d was forgotten by the supervisor alone", g.Number)
		}
	}
	if serving > 1 {
		w.fail("%d generations serve", serving)
	}
	if s := w.m.Serving(); s != 0 && w.m.Gen(s) == nil {
		w.fail("generation %d serves and has gone", s)
	}
	if (w.pending != 0) != (w.m.restart != nil) {
		w.fail("restart %d is pending; the machine's: %+v", w.pending, w.m.restart)
	}
	if w.m.recovery != nil && w.m.recovery.number == 0 && w.retry.IsZero() {
		w.fail("what served before is not started again")
	}
	if w.ended && (w.pending != 0 || len(w.m.Gens()) > 0) {
		w.fail("ended too early")
	}
	if w.calm && !w.stopped && !w.ended && !w.accepting() {
		w.fail("nobody accepts connections")
	}
}

// accepting: some generation that nobody told to go has sockets that it waits
// on and that were not, and are not being, taken from it. Between the crash of
// a generation on probation and the resume of the one before, connections wait
// in the held sockets' queues.
func (w *world) accepting() bool {
	for _, g := range w.gens {
		if g.preparing && g.n == 1 || g.launching || g.resuming > 0 || !g.confirmed && g.n == 1 && g.p.Waiting == 0 {
			return true
		}
		up := g.launched && len(g.procs) > 0 && g.p.Listening > 0 && (g.p.Waiting > 0 || w.policy.BlindReady)
		if up && !g.quiesced && !g.signalled && !g.killed {
			return true
		}
	}
	// Its quiesce is under way while its successor has just died; or it had to
	// go first, and connections wait in the held sockets.
	r := w.m.restart
	return w.m.recovery != nil || r != nil && (r.reason != "" || r.mode != StartFirst && r.stage != preparing)
}

// deadlines are the timers that run, the first to fire first.
func (w *world) deadlines() []Expired {
	var all []Expired
	for _, n := range slices.Sorted(maps.Keys(w.gens)) {
		for _, t := range slices.Sorted(maps.Keys(w.gens[n].timers)) {
			all = append(all, Expired{n, t})
		}
	}
	slices.SortStableFunc(all, func(a, b Expired) int {
		return w.gens[a.N].timers[a.Timer].Compare(w.gens[b.N].timers[b.Timer])
	})
	return all
}

// fire lets the next timer run out.
func (w *world) fire() {
	all := w.deadlines()
	if !w.retry.IsZero() && (len(all) == 0 || w.pick(2) == 0) {
		if w.retry.After(w.now) {
			w.now = w.retry
		}
		w.retry = time.Time{}
		w.step(Expired{0, RetryTimer})
		return
	}
	e := all[0]
	at := w.gens[e.N].timers[e.Timer]
	delete(w.gens[e.N].timers, e.Timer)
	if at.After(w.now) {
		w.now = at
	}
	w.step(e)
}
