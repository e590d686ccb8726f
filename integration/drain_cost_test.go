package integration

import (
	"slices"
	"testing"
	"time"
)

// TestDrainCost: each write of the last response on a kept connection of a
// version that drains is stopped, and nothing else is: how long such a request
// takes, beside one to the same server without hupt.
func TestDrainCost(t *testing.T) {
	for name, writes := range map[string]int{"go": 1, "c-keepalive": 2, "nginx": 1, "haproxy": 1, "node": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := max(20, scale(500))
			bare, under := newSite(t, named(name)), newSite(t, named(name))
			if name == "node" { // by itself it closes an idle one after 5 s, which all this may take
				bare.args, under.args = []string{"600000"}, []string{"600000"}
			}
			launchAt(t, bare.dir, launch{bare: true, argv: bare.argv(), env: bare.env()})
			bare.awaitAnswer()
			i := start(under, "--idle-grace", "1h", "--drain-timeout", "never")
			kepts := func(s *site) (all []*kept) {
				for range n {
					k, err := dialKept(s)
					if err == nil {
						err = k.ask()
					}
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(k.Close)
					all = append(all, k)
				}
				return all
			}
			bares, drains := kepts(bare), kepts(under)
			under.deploy("v1")
			i.restart()
			time.Sleep(2 * time.Second) // its responses stop when its probation is over
			before := i.status()
			var bareTimes, drainTimes []time.Duration
			for n := range bares {
				for _, turn := range []struct {
					k     *kept
					times *[]time.Duration
				}{{bares[n], &bareTimes}, {drains[n], &drainTimes}} {
					began := time.Now()
					if err := turn.k.ask(); err != nil {
						t.Fatal(err)
					}
					*turn.times = append(*turn.times, time.Since(began))
				}
			}
			stops := i.status().Stops["seccomp:write"] - before.Stops["seccomp:write"]
			t.Logf("%s: %d last responses: %d stops; p50 %v, p99 %v; without hupt p50 %v, p99 %v", name, n, stops,
				quantile(drainTimes, 50), quantile(drainTimes, 99), quantile(bareTimes, 50), quantile(bareTimes, 99))
			if stops != uint64(n*writes) {
				t.Errorf("%d stops for %d responses of %d writes", stops, n, writes)
			}
			await(t, "the old version's end, since each client was told", func() bool { return len(i.status().Generations) == 1 })
		})
	}
}

// quantile is the smallest time within which q percent of the times are.
func quantile(times []time.Duration, q int) time.Duration {
	slices.Sort(times)
	return times[(len(times)*q-1)/100].Round(time.Microsecond)
}
