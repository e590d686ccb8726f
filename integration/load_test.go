package integration

import (
	"context"
	"testing"
	"time"

	"hupt/load"
)

// begin starts a load that the test's end breaks off, if nothing else did.
func begin(t testing.TB, o load.Options) *load.Run {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	run, err := load.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return run
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
func awaitRequests(t testing.TB, run *load.Run, n int, within time.Duration) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if run.Snapshot().Requests >= int64(n) {
			return
		}
	}
	t.Fatalf("only %d of %d requests within %v", run.Snapshot().Requests, n, within)
}
