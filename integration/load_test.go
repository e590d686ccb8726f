package integration

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"hupt/load"
)

// loading is a load that goes on, and how many requests it has made: a
// Snapshot copies whole histograms, which is too much to ask for all the time.
type loading struct {
	*load.Run
	made atomic.Int64
}

// begin starts a load that the test's end breaks off, if nothing else did.
func begin(t testing.TB, o load.Options) *loading {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l := &loading{}
	observe := o.Observe
	o.Observe = func(s load.Sample) {
		l.made.Add(1)
		if observe != nil {
			observe(s)
		}
	}
	var err error
	if l.Run, err = load.Start(ctx, o); err != nil {
		t.Fatal(err)
	}
	return l
}

// noneFailed fails the test if a request failed, and shows the first ones.
func noneFailed(t testing.TB, what string, r load.Result) {
	t.Helper()
	t.Logf("%s: %s", what, r)
	if r.Failures > 0 {
		t.Errorf("%s: %d of %d requests failed", what, r.Failures, r.Requests)
	}
	if r.Requests == 0 {
		t.Errorf("%s: no request was made", what)
	}
}

// awaitRequests waits until a load has made n requests.
func awaitRequests(t testing.TB, run *loading, n int, within time.Duration) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if run.made.Load() >= int64(n) {
			return
		}
	}
	t.Fatalf("only %d of %d requests within %v", run.made.Load(), n, within)
}
