package integration

import (
	"testing"
	"time"
)

// TestBare proves the yardstick: without hupt and without a restart, no
// victim fails a request, ordinary or slow. What fails elsewhere is then hupt's.
func TestBare(t *testing.T) {
	t.Parallel()
	for _, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, v)
			launchAt(t, s.dir, launch{bare: true, argv: s.argv()})
			who := s.awaitAnswer()
			if who.version != "v0" {
				t.Errorf("it answers as version %q, not v0", who.version)
			}
			run := begin(t, s.load())
			awaitRequests(t, run, v.total()/20, patience)
			noneFailed(t, "ordinary", run.Stop())
			slow := begin(t, s.slow(slowMillis))
			time.Sleep(slowMillis * time.Millisecond)
			r := slow.Stop()
			noneFailed(t, "slow", r)
			if r.Latency.P50 < slowMillis*time.Millisecond*9/10 {
				t.Errorf("slow requests take only %v", r.Latency.P50)
			}
		})
	}
}
