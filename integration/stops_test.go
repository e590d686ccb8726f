package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hupt/load"
)

// onThePath names system calls of a request. No stop may ever be one of them.
var onThePath = regexp.MustCompile(`accept|read|write|send|recv|epoll|poll|select|close|shutdown|sockopt|fcntl`)

// TestStops: hupt counts its own stops while a server answers requests on new
// connections: none is on the path of a request.
func TestStops(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		victim string
		most   int // stops for a hundred requests; what they are is said in why
		why    string
	}{
		{"go", 2, "SIGURG of the scheduler's preemption"},
		{"c-threads", 0, ""},
		{"c-epoll-edge", 0, ""},
		{"c-select", 0, ""},
		{"nginx", 0, ""},
		{"haproxy", 0, ""},
		{"redis", 0, ""},
		{"node", 1, "signals of its own threads"},
		{"c-thread-per-request", 400, "a clone and an exit for each connection"},
		{"c-fork-per-connection", 900, "a fork, an exit and a SIGCHLD for each connection"},
	} {
		t.Run(c.victim, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(c.victim))
			i := start(s)
			s.deploy("v1")
			i.restart("--wait-drained") // as after any restart: the injected state must be free, too
			n := min(s.v.total(), scale(stopsRequests))
			before := i.status()
			run := begin(t, withRequests(s.load(), n))
			r := run.Wait()
			after := i.status()
			noneFailed(t, c.victim, r)
			stops := map[string]uint64{}
			var total uint64
			for kind, count := range after.Stops {
				if d := count - before.Stops[kind]; d > 0 {
					stops[kind] = d
					total += d
				}
			}
			t.Logf("%d requests on new connections: %d stops (%s), %d calls injected; ever: %s",
				r.Requests, total, counts(stops), after.Injected-before.Injected, counts(after.Stops))
			for kind := range after.Stops {
				if onThePath.MatchString(kind) {
					t.Errorf("hupt stopped %d times for %s", after.Stops[kind], kind)
				}
			}
			// A few may be of the server's own timers, whatever the requests.
			if limit := uint64(r.Requests)*uint64(c.most)/100 + 20; total > limit {
				t.Errorf("%d stops in %d requests, more than %d (%s)", total, r.Requests, limit, c.why)
			}
			if after.Injected != before.Injected {
				t.Errorf("hupt injected %d calls while nothing happened", after.Injected-before.Injected)
			}
		})
	}
}

// TestIdle: a program that does nothing is left alone.
func TestIdle(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-epoll-level"))
	i := start(s)
	before := i.status()
	time.Sleep(2 * time.Second)
	if after := i.status(); counts(after.Stops) != counts(before.Stops) {
		t.Errorf("stops of an idle program: %s, then %s", counts(before.Stops), counts(after.Stops))
	}
}

func withRequests(o load.Options, n int) load.Options {
	o.Requests = int64(n)
	return o
}

func counts(m map[string]uint64) string {
	var all []string
	for kind, n := range m {
		all = append(all, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}
