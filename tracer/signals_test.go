package tracer

import (
	"os"
	"testing"
	"time"
)

// TestOurs: a signal that was masked comes long after its sender ended.
func TestOurs(t *testing.T) {
	const pid = 1<<22 + 1 // beyond PID_MAX_LIMIT (proc(5)): nobody's
	tr := &Tracer{ended: make(map[int]time.Time)}
	for _, x := range []struct {
		pid  int
		ago  time.Duration
		want bool
	}{
		{pid, recently / 2, true},
		{pid, longAgo / 2, true},
		{pid, 2 * longAgo, false},
		{os.Getpid(), recently / 2, true},
		{os.Getpid(), longAgo / 2, false}, // somebody else has the number
	} {
		tr.ended[x.pid] = time.Now().Add(-x.ago)
		if got := tr.ours(x.pid); got != x.want {
			t.Errorf("%d, which ended %v ago: %v", x.pid, x.ago, got)
		}
	}
	if tr.ours(pid + 1) {
		t.Error("one that was never there is ours")
	}
}
