package generation

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRevivalFailed: if what is to be started again can't be, the instance ends
// as the program did, and is said to have ended so; that it could not be started
// is told before.
func TestRevivalFailed(t *testing.T) {
	m := New(Policy{Revive: ReviveAlways, ReviveMax: 1})
	now := time.Now()
	var all []Action
	step := func(events ...Event) {
		for _, e := range events {
			all = append(all, m.Step(e, now)...)
		}
	}
	step(RestartWanted{N: 1}, Prepared{1}, Launched{N: 1}, Progressed{1, Progress{Listening: 1, Waiting: 1}}, Exited{N: 1, Main: true, Last: true, Exit: Exit{3, "exited with status 3"}},
		ReviveDue{2}, Prepared{2}, LaunchFailed{2, "./x: command not found"})
	const failed = "say failed 2 (./x: command not found)"
	if words := actionWords(all); strings.Count(words, failed) != 1 {
		t.Errorf("%q is not in %s", failed, words)
	}
	n := slices.IndexFunc(all, func(a Action) bool { _, ok := a.(End); return ok })
	if n < 0 {
		t.Fatalf("it goes on: %s", actionWords(all))
	}
	if end := all[n].(End); end.Code != 3 || end.Reason != "it exited with status 3 after 0.00 s" {
		t.Errorf("it ends with %+v", end)
	}
}
