package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"hupt/load"
	"hupt/supervisor"
)

// TestRestartUnderLoad: every server, restarted over and over under clients
// that open a connection for each request, fails none of them, and each
// restart is a new process with new code.
func TestRestartUnderLoad(t *testing.T) {
	t.Parallel()
	for _, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			restartUnderLoad(t, newSite(t, v))
		})
	}
}

func restartUnderLoad(t *testing.T, s *site, flags ...string) {
	i := start(s, flags...)
	if s.v.fewer != "" {
		t.Logf("%d requests: %s", s.v.total(), s.v.fewer)
	}
	restarts := max(few(5), scale(restartsPerServer))
	run := begin(t, s.load())
	seen := newLineage(i)
	for n := 1; n <= restarts; n++ {
		awaitRequests(t, run, s.v.total()*n/(restarts+1), 4*patience)
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		run.SetPhase(version)
		i.restart()
		run.SetPhase("")
		seen.isNew(s, version)
	}
	awaitRequests(t, run, s.v.total(), 4*patience)
	r := run.Stop()
	noneFailed(t, fmt.Sprintf("%s, %d restarts", s.v.name, restarts), r)
	if status := i.status(); status.Restarts != restarts || status.Rollbacks != 0 || status.Cut != 0 {
		t.Errorf("hupt counts %d restarts, %d rollbacks, %d connections cut; want %d, 0, 0",
			status.Restarts, status.Rollbacks, status.Cut, restarts)
	}
}

// TestRestartWithSlowRequests: requests that take half a second are in flight
// at each restart and all are answered, by the old version.
func TestRestartWithSlowRequests(t *testing.T) {
	t.Parallel()
	for _, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, v)
			i := start(s)
			// Two halves, half a request apart: there is no moment at which
			// none is in flight.
			half := s.slow(slowMillis)
			half.Clients /= 2
			var samples, others sampler
			half.Observe = samples.add
			slow := []*loading{begin(t, half), nil}
			time.Sleep(slowMillis / 2 * time.Millisecond)
			half.Observe = others.add
			slow[1] = begin(t, half)
			apart := slow[1].Began().Sub(slow[0].Began())
			var quiesced []time.Duration // when, since the first half began
			seen := newLineage(i)
			least := clients
			for n := 1; n <= scale(slowRestarts); n++ {
				// Some are just beginning, some are about to end.
				time.Sleep(slowMillis * 7 / 10 * time.Millisecond)
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				setPhase(slow, version)
				for _, e := range i.restartEvents() {
					if e.Kind == supervisor.EventServing {
						quiesced = append(quiesced, e.Time.Sub(slow[0].Began()))
					}
				}
				setPhase(slow, "")
				seen.isNew(s, version)
			}
			r := load.Merge(slow[0].Stop(), slow[1].Stop())
			noneFailed(t, fmt.Sprintf("%s, %d restarts with requests of %d ms in flight", v.name, scale(slowRestarts), slowMillis), r)
			for n, at := range quiesced {
				least = min(least, samples.inFlight(at)+others.inFlight(at-apart))
				if n == len(quiesced)-1 {
					t.Logf("requests in flight at each of %d restarts: never fewer than %d", len(quiesced), least)
				}
			}
			if least == 0 || len(quiesced) == 0 {
				t.Error("a restart had no request in flight")
			}
			if status := i.status(); status.Cut != 0 {
				t.Errorf("hupt says that %d connections were cut", status.Cut)
			}
		})
	}
}

func setPhase(runs []*loading, phase string) {
	for _, run := range runs {
		run.SetPhase(phase)
	}
}

// TestRestartKeepsWaitingClients: connections that wait in the accept queue
// for a server that has all its workers busy are answered after a restart.
func TestRestartKeepsWaitingClients(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-threads"))
	s.args = []string{"workers=2"}
	i := start(s)
	o := s.slow(300)
	o.Clients, o.Requests = 40, 80
	run := begin(t, o)
	time.Sleep(100 * time.Millisecond) // 2 are served, 38 wait
	for n := 1; n <= 3; n++ {
		s.deploy(fmt.Sprintf("v%d", n))
		i.restart()
	}
	noneFailed(t, "40 clients of 2 workers", run.Wait())
}

// TestRestartIPv6: the same over ::1.
func TestRestartIPv6(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "c-epoll-edge"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := *named(name)
			v.requests = requestsPerServer / 10
			s := newSite(t, &v)
			s.host = "::1"
			restartUnderLoad(t, s)
		})
	}
}

// TestRestartKeepAlive: clients on kept connections lose nothing either while
// the old generation may serve them to their end.
func TestRestartKeepAlive(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "nginx", "node"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(name))
			i := start(s, "--drain-timeout", "never")
			restartKept(i, s, func(version string) { newLineage(i).isNew(s, version) })
		})
	}
}

// restartKept restarts three times, twice in a small suite, under clients on kept connections, none of
// which fails, and looks at each version.
func restartKept(i *instance, s *site, look func(version string)) {
	i.t.Helper()
	o := s.load()
	o.Kind = load.KeepAlive
	run := begin(i.t, o)
	for n := 1; n <= few(3); n++ {
		awaitRequests(i.t, run, max(50, scale(500))*n, patience)
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		i.restart()
		look(version)
	}
	noneFailed(i.t, "kept connections", run.Stop())
}

// lineage remembers who has served, so that nobody serves twice.
type lineage struct {
	i    *instance
	pids []int // of first processes of generations
}

func newLineage(i *instance) *lineage { return &lineage{i: i} }

// isNew fails the test unless what serves now is version, all of it, in a
// process that was never seen before.
func (l *lineage) isNew(s *site, version string) {
	s.t.Helper()
	g := l.i.serving()
	if slices.Contains(l.pids, g.PID) {
		s.t.Errorf("%s is served by pid %d, which has served before", version, g.PID)
	}
	l.pids = append(l.pids, g.PID)
	for range 3 {
		who, err := s.answer()
		if err != nil {
			s.t.Errorf("after the restart to %s: %v", version, err)
			return
		}
		if who.version != version {
			s.t.Errorf("a connection opened after the restart to %s was answered by %s (pid %d)", version, who.version, who.pid)
		}
		if !s.v.fleeting && !slices.Contains(g.PIDs, who.pid) {
			s.t.Errorf("pid %d answers, which is none of the processes of generation %d: %v", who.pid, g.Number, g.PIDs)
		}
	}
}
