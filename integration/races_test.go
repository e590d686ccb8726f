package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// racePoints are where package fault makes hupt slow: where a launch, a swap or the
// loop could be overtaken by what comes meanwhile.
var racePoints = []string{"start", "prepare", "launch", "launched", "execute", "quiesce", "resume", "loop", "call", "pool"}

// raceFlags are the ways to run in which the order of things differs.
var raceFlags = [][]string{
	nil,
	{"--order=stop-first"},
	{"--exec"},
	{"--multi=2"},
	{"--multi=2", "--rolling"},
	{"--revive=always", "--revive-delay=20ms"},
	{"--exec", "--revive=on-failure", "--revive-delay=20ms"},
	{"--wait-children", "--kill-at-exit"},
	{"--ready=delay:50ms"},
}

// races is how many worlds TestRaces makes: HUPT_RACES, or few.
func races() int {
	if n, err := strconv.Atoi(os.Getenv("HUPT_RACES")); err == nil {
		return n
	}
	return max(16, scale(1000))
}

// TestRaces: hupt is slow at random points, and is asked for random things meanwhile, from
// its first moment to its end. It never fails by a fault of its own; when all that is over, a
// good version is let in; as long as nothing was done that must cost one, no request fails;
// and it ends when it is told to, with an exit code that is written down, and leaves nothing.
// HUPT_SEED=n makes the worlds from seed n on.
func TestRaces(t *testing.T) {
	t.Parallel()
	first, err := strconv.ParseUint(os.Getenv("HUPT_SEED"), 10, 64)
	if err != nil {
		first = rand.Uint64() >> 20
	}
	for n := range races() {
		seed := first + uint64(n)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			newRace(t, seed).run()
		})
	}
}

// race is one world, made from a seed.
type race struct {
	t     *testing.T
	r     *rand.Rand
	s     *site
	i     *instance
	flags []string
	did   []string // what was done, for whoever reads of a failure
	costs bool     // something was done that costs requests bare, too
	early bool     // it does not serve yet when things are asked of it
	over  bool     // it was told to end, or its program was killed
	n     int      // versions so far
}

func newRace(t *testing.T, seed uint64) *race {
	a := &race{t: t, r: rand.New(rand.NewPCG(seed, seed))}
	a.s = newSite(t, named([]string{"c-threads", "go"}[a.r.IntN(2)]))
	a.flags = slices.Clone(raceFlags[a.r.IntN(len(raceFlags))])
	return a
}

func (a *race) run() {
	mark := filepath.Join(a.s.dir, "mark")
	faults := []string{"start=mark?" + mark}
	for _, p := range racePoints {
		if a.r.IntN(3) == 0 {
			most := 300 // ms; what is passed all the time gets less
			if p == "loop" || p == "call" || p == "pool" {
				most = 10
			}
			faults = append(faults, fmt.Sprintf("%s=~%dms", p, 1+a.r.IntN(most)))
		}
	}
	a.note("%v, slow at %v", a.flags, faults[1:])
	a.i = launchAt(a.t, a.s.dir, launch{flags: append(a.flags, "--ready-timeout=20s"), argv: a.s.argv(), env: a.s.env(), faults: strings.Join(faults, " ")})
	defer a.tell()
	// Before that, a signal does what it does to any program.
	await(a.t, "it is hupt's own code that runs", func() bool { _, err := os.Stat(mark); return err == nil })
	a.early = a.r.IntN(4) == 0
	var run *loading
	if !a.early {
		a.s.awaitAnswer()
		o := a.s.load()
		o.Rate, o.Clients = 40, 4
		run = begin(a.t, o)
	}
	for range a.r.IntN(6) {
		if a.over {
			break
		}
		time.Sleep(time.Duration(a.r.IntN(250)) * time.Millisecond)
		a.act()
	}
	if !a.over && a.r.IntN(2) == 0 {
		a.settles()
	}
	if run != nil && !a.costs && !a.over {
		noneFailed(a.t, strings.Join(a.did, "; "), run.Stop())
	} else if run != nil {
		run.Stop()
	}
	a.ends()
}

// act does one random thing to it.
func (a *race) act() {
	switch a.r.IntN(12) {
	case 0, 1:
		a.deploy()
		a.asks("restart", "--no-wait")
	case 2:
		a.deploy()
		a.signals(unix.SIGHUP)
	case 3:
		a.signals(unix.SIGHUP)
		a.signals(unix.SIGHUP)
	case 4:
		a.deploy()
		a.asks("restart")
	case 5:
		a.asks("restart", "--timeout", "300ms")
	case 6, 7:
		bad := badVersions[a.r.IntN(len(badVersions)-5)].name // those baked into bad.c
		if bad == "hang" || bad == "bound" || bad == "deaf" {
			bad = "dies:100"
		}
		a.note("deploy %s", bad)
		a.s.deployBad(bad)
		a.asks("restart", "--no-wait")
		// Where the one before went first, it is asked for again, and its program
		// may not be there any more.
		a.costs = a.costs || len(a.flags) > 0
		a.over = a.early // it may be the first one's program
	case 8:
		a.asks("status")
	case 9:
		if slices.Contains(a.flags, "--multi=2") {
			a.asks("scale", fmt.Sprint(1+a.r.IntN(3)))
			return
		}
		a.asks("restart", "--no-wait")
		a.asks("stop", "--help")
	case 10:
		pids := a.i.programs()
		if len(pids) == 0 {
			return
		}
		pid := pids[a.r.IntN(len(pids))]
		a.note("kill -9 %d, a program", pid)
		unix.Kill(pid, unix.SIGKILL)
		a.costs = true
		// Its end is hupt's, unless it is made anew, or was on its way out anyway.
		a.over = true
	case 11:
		a.signals([]unix.Signal{unix.SIGUSR1, unix.SIGWINCH, unix.SIGCONT}[1+a.r.IntN(2)])
	}
}

// settles: whatever was asked for is over at some time, and a good version is let in.
func (a *race) settles() {
	await(a.t, "it serves", func() bool {
		if a.i.waitEnd(0) {
			a.t.Fatal("hupt has ended")
		}
		_, err := a.s.answer()
		return err == nil
	})
	version := a.deploy()
	await(a.t, "a good version is let in", func() bool {
		out, code := a.i.hupt("restart")
		if code != 0 && code != 6 && code != 1 {
			a.t.Fatalf("hupt restart: exit code %d\n%s", code, out)
		}
		return code == 0
	})
	if who := a.s.awaitAnswer(); !slices.Contains(a.flags, "--multi=2") && who.version != version {
		a.t.Errorf("%s answers, not %s", who.version, version)
	}
}

// ends: it does so in time, and with one of the codes that README tells of.
func (a *race) ends() {
	a.i.signal(unix.SIGTERM)
	if a.r.IntN(4) == 0 {
		time.Sleep(time.Duration(a.r.IntN(300)) * time.Millisecond)
		a.i.signal(unix.SIGTERM)
	}
	code := a.i.exitCode()
	a.note("exit code %d", code)
	// The program's own: ended by TERM, or killed; or that of a bad version which
	// was alone.
	if !slices.Contains([]int{0, 3, 4, 137, 139, 143}, code) {
		a.t.Errorf("exit code %d", code)
	}
	if a.i.says("internal error") != 0 || a.i.says("goroutine ") != 0 || a.i.says("DATA RACE") != 0 {
		a.t.Errorf("hupt said:\n%s", a.i.tail())
	}
}

func (a *race) deploy() (version string) {
	a.n++
	version = fmt.Sprintf("v%d", a.n)
	a.note("deploy %s", version)
	a.s.deploy(version)
	return version
}

func (a *race) asks(verb string, args ...string) {
	_, code := a.i.hupt(verb, args...)
	a.note("%s %s: %d", verb, strings.Join(args, " "), code)
}

func (a *race) signals(s unix.Signal) {
	a.note("%s", unix.SignalName(s))
	a.i.signal(s)
}

func (a *race) note(format string, args ...any) { a.did = append(a.did, fmt.Sprintf(format, args...)) }

func (a *race) tell() {
	if a.t.Failed() {
		a.t.Logf("what was done: %s", strings.Join(a.did, "; "))
	}
}
