package integration

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hupt/internal/machine"
	"hupt/load"
)

// TestSlowStartup: a version that takes seconds to start costs nobody
// anything, wherever it spends them. The load is an open loop: a request that
// waits shows its whole wait, and so do those that fall due behind it.
func TestSlowStartup(t *testing.T) {
	millis := startupSleep.Milliseconds()
	for _, c := range []struct{ name, victim, arg string }{
		{"go before bind", "go", "-startup=" + startupSleep.String()},
		{"go between listen and accept", "go", "-listening=" + startupSleep.String()},
		{"c-threads before bind", "c-threads", fmt.Sprint("startup=", millis)},
		{"c-threads between listen and accept", "c-threads", fmt.Sprint("listening=", millis)},
		{"c-epoll between listen and wait", "c-epoll-level", fmt.Sprint("listening=", millis)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(c.victim))
			s.args = []string{c.arg}
			i := start(s)
			// The same server bare, under the same load at the same time, has
			// whatever else the machine does to tell from what hupt does.
			control := newSite(t, named(c.victim))
			launchAt(t, control.dir, launch{bare: true, argv: control.argv()})
			control.awaitAnswer()
			// Where the bare one is so late that nothing can be told, it is looked
			// again: that passes.
			for n := 1; !slowStartup(t, i, s, control, fmt.Sprintf("v%d", n)); n++ {
				if n == 5 {
					t.Fatalf("%d times this machine was too busy to tell a request that waits for a starting server from others", n)
				}
			}
		})
	}
}

// slowStartup restarts once, and reports whether it could be judged.
func slowStartup(t *testing.T, i *instance, s, control *site, version string) bool {
	t.Helper()
	var samples, bare sampler
	run := begin(t, observed(s, &samples))
	other := begin(t, observed(control, &bare))
	apart := other.Began().Sub(run.Began())
	time.Sleep(3 * time.Second)

	s.deploy(version)
	watch := machine.Begin()
	from := time.Since(run.Began())
	i.restart()
	until := time.Since(run.Began())
	late, slower := watch.End()
	newLineage(i).isNew(s, version)
	if took := until - from; took < startupSleep {
		t.Errorf("the restart took %v: the new version served before it was up", took)
	}
	noneFailed(t, "a slow startup", run.Stop())

	noneFailed(t, "the bare server", other.Stop())
	quiet := samples.between(0, from)
	during := samples.between(from, from+startupSleep)
	whole := samples.between(from, until)
	beside := bare.between(from-apart, until-apart)
	t.Logf("p50/p99/max without a restart %v, during the startup %v, of the whole restart %v; of a bare server meanwhile %v; a request on the loopback took up to %v",
		quiet, during, whole, beside, late)
	// A request that waits for a starting server waits for seconds: half of those
	// that are due meanwhile for more than half of its time.
	judge := func(what string, got, quiet, beside time.Duration) bool {
		limit := 2*max(quiet, beside) + 20*time.Millisecond
		if limit > startupSleep/2 {
			return false
		}
		if got > limit {
			t.Errorf("%s was %v during the startup, more than %v", what, got, limit)
		}
		return true
	}
	p50 := judge("p50", during.p50, quiet.p50, beside.p50)
	p99 := judge("p99", during.p99, quiet.p99, beside.p99)
	if limit := max(quiet.max, beside.max) + time.Duration(float64(300*time.Millisecond)*slower); p99 && whole.max > limit {
		t.Errorf("a request took %v during the restart, more than %v", whole.max, limit)
	}
	return p50
}

// observed is an open loop of which every request is kept.
func observed(s *site, to *sampler) load.Options {
	o := s.load()
	o.Rate, o.Clients, o.Observe = machine.Pace(100, 20), 32, to.add
	return o
}

// sampler keeps when each request was due and how long it took.
type sampler struct {
	mu  sync.Mutex
	all []load.Sample
}

func (s *sampler) add(one load.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, one)
}

// inFlight counts the requests that were sent before a moment and answered
// after it.
func (s *sampler) inFlight(at time.Duration) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.Due < at && one.Due+one.Latency > at {
			n++
		}
	}
	return n
}

// spread is how the latencies of a stretch of time are.
type spread struct {
	p50, p99, max time.Duration
}

func (s spread) String() string {
	r := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	return fmt.Sprintf("%v/%v/%v", r(s.p50), r(s.p99), r(s.max))
}

// between returns the spread of the requests that were due in [from, to).
func (s *sampler) between(from, to time.Duration) spread {
	s.mu.Lock()
	defer s.mu.Unlock()
	var took []time.Duration
	for _, one := range s.all {
		if one.Due >= from && one.Due < to {
			took = append(took, one.Latency)
		}
	}
	if len(took) == 0 {
		return spread{}
	}
	slices.Sort(took)
	return spread{took[len(took)/2], took[len(took)*99/100], took[len(took)-1]}
}
