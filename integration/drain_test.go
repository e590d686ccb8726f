package integration

import (
	"fmt"
	"os"
	"testing"
	"time"

	"hupt/internal/machine"
	"hupt/load"
	"hupt/supervisor"
)

// TestDrainKeepAlive: 32 clients that ask without a pause on kept connections,
// and never ask twice, are on the new version soon after each restart, and the
// old one has gone: nothing waits for them, nothing cuts them.
func TestDrainKeepAlive(t *testing.T) {
	for _, name := range []string{"go", "node", "nginx", "haproxy", "python-http1.1", "c-keepalive"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(name))
			i := start(s, "--drain-timeout", "never")
			o := s.load()
			o.Kind, o.Clients = load.KeepAlive, 32
			run := begin(t, o)
			awaitRequests(t, run, max(50, scale(500)), patience)
			restarts := max(few(3), scale(20))
			var slowest time.Duration
			watch := machine.Begin()
			for n := 1; n <= restarts; n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				run.SetPhase(version)
				slowest = max(slowest, drained(t, i))
				run.SetPhase("")
			}
			r := run.Stop()
			// hupt with the race detector is several times slower; and where
			// everybody waits for a processor, so does hupt.
			limit := 2 * time.Second
			if os.Getenv("HUPT_RACE") == "1" {
				limit = 4 * time.Second
			}
			late, slower := watch.End()
			limit = time.Duration(float64(limit)*slower) + 20*r.Latency.Quantile(99)
			if t.Logf("a request on the loopback took up to %v meanwhile", late); slowest > limit {
				t.Errorf("an old version was gone %v after its quiesce, limit %v", slowest, limit)
			}
			noneFailed(t, fmt.Sprintf("%s, %d restarts, the slowest old version gone %v after its quiesce", name, restarts, slowest.Round(time.Millisecond)), r)
			if status := i.status(); status.Restarts != restarts || status.Cut != 0 {
				t.Errorf("hupt counts %d restarts and %d connections cut; want %d and 0", status.Restarts, status.Cut, restarts)
			}
		})
	}
}

// drained restarts, and returns how long after its quiesce the old generation
// was gone.
func drained(t *testing.T, i *instance) time.Duration {
	t.Helper()
	var served time.Time
	for _, e := range i.restartEvents("--wait-drained") {
		switch e.Kind {
		case supervisor.EventServing:
			served = e.Time
		case supervisor.EventGone:
			return e.Time.Sub(served)
		}
	}
	t.Fatal("nobody told that the old generation was gone")
	return 0
}

// TestDrainStopFirst: where the new version waits for the old one to end, it
// waits for requests, and not for connections.
func TestDrainStopFirst(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{{"--order", "stop-first"}, {"--exec"}} {
		t.Run(flags[0], func(t *testing.T) {
			t.Parallel()
			drainAwaited(t, flags)
		})
	}
}

func drainAwaited(t *testing.T, flags []string) {
	s := newSite(t, named("go"))
	i := start(s, append(flags, "--drain-timeout", "never")...)
	idle := dialSite(t, s)
	idle.get()
	o := s.load()
	o.Kind, o.Clients = load.KeepAlive, 16
	run := begin(t, o)
	for n := 1; n <= max(2, scale(5)); n++ {
		awaitRequests(t, run, max(50, scale(500))*n, patience)
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		run.SetPhase(version)
		i.restart()
		run.SetPhase("")
		if who, err := s.answer(); err != nil || who.version != version {
			t.Errorf("after the restart to %s: %v, %v", version, who, err)
		}
	}
	idle.ended()
	noneFailed(t, "kept connections, stop-first", run.Stop())
	if cut := i.status().Cut; cut != 0 {
		t.Errorf("%d connections were cut", cut)
	}
}
