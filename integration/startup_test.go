package integration

import (
	"slices"
	"sync"
	"testing"
	"time"

	"hupt/load"
)

// TestSlowStartup: a version that takes seconds to start costs nobody
// anything, wherever it spends them. The load is an open loop: a request that
// waits shows its whole wait, and so do those that fall due behind it.
func TestSlowStartup(t *testing.T) {
	for _, c := range []struct{ name, victim, arg string }{
		{"go before bind", "go", "-startup=" + startupSleep.String()},
		{"go between listen and accept", "go", "-listening=" + startupSleep.String()},
		{"c-threads before bind", "c-threads", "startup=3000"},
		{"c-threads between listen and accept", "c-threads", "listening=3000"},
		{"c-epoll between listen and wait", "c-epoll-level", "listening=3000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(c.victim))
			s.args = []string{c.arg}
			i := start(s)
			var samples sampler
			o := s.load()
			o.Rate, o.Clients, o.Observe = 500, 64, samples.add
			run := begin(t, o)
			time.Sleep(startupSleep)

			s.deploy("v1")
			from := time.Since(run.Began())
			i.restart()
			until := time.Since(run.Began())
			newLineage(i).isNew(s, "v1")
			if took := until - from; took < startupSleep {
				t.Errorf("the restart took %v: the new version served before it was up", took)
			}
			noneFailed(t, c.name, run.Stop())

			quiet := samples.between(0, from)
			during := samples.between(from, from+startupSleep)
			whole := samples.between(from, until)
			t.Logf("p50/p99/max without a restart %v, during the startup %v, of all the restart %v", quiet, during, whole)
			// Noise on a busy machine is scheduling: tens of milliseconds.
			// A request that waits for a starting server waits for seconds.
			if limit := 3*quiet.p99 + 25*time.Millisecond; during.p99 > limit {
				t.Errorf("p99 was %v during the startup and %v without", during.p99, quiet.p99)
			}
			if limit := quiet.max + 300*time.Millisecond; whole.max > limit {
				t.Errorf("a request took %v during the restart; the slowest without took %v", whole.max, quiet.max)
			}
		})
	}
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

// spread is how the latencies of a stretch of time are.
type spread struct {
	p50, p99, max time.Duration
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
