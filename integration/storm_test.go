package integration

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/internal/machine"
)

// TestStorm: processes that stop without end don't keep hupt from hearing of the
// others: a restart beside them, and the end.
func TestStorm(t *testing.T) {
	t.Parallel()
	s := newSite(t, c("c-storm", "storm", "workers=40"))
	s.v.tag, s.v.check = bodyTag, checkBody
	i := start(s)
	time.Sleep(500 * time.Millisecond) // by then they are at it
	s.deploy("v2")
	limit := machine.Patience(8 * time.Second)
	began := time.Now()
	if out, code := i.huptWithin(limit, "restart"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	if who := s.awaitAnswer(); who.version != "v2" {
		t.Errorf("%s serves", who.version)
	}
	t.Logf("a restart beside 40 that stop without end: %v", time.Since(began))
	began = time.Now()
	i.signal(unix.SIGTERM)
	if i.exitCode(); time.Since(began) > limit {
		t.Errorf("TERM took %v", time.Since(began))
	}
}
