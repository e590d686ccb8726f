package smoke

import (
	"context"
	"errors"
	"strings"
)

// TB is what Test needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Test makes a run, logs its report, and fails t for each check that fails.
// Where ptrace is not allowed the test is skipped.
func Test(t TB, o Options) *Report {
	t.Helper()
	r, err := Run(t.Context(), o)
	if errors.Is(err, ErrUsage) || r == nil {
		t.Fatalf("hupt smoke: %v", err)
		return nil
	}
	var text strings.Builder
	_ = WriteText(&text, r, false) // a Builder can't fail
	t.Logf("%s", text.String())
	switch r.Outcome {
	case Passed:
	case Forbidden:
		t.Skipf("hupt smoke: %s", r.Reason)
	case Failed:
		for _, c := range r.Failures() {
			t.Errorf("hupt smoke: %s: %s", c.Title, c.Figure)
		}
		if r.Reason != "" {
			t.Errorf("hupt smoke: %s", r.Reason)
		}
	default:
		t.Errorf("hupt smoke: %s: %s", r.Outcome, r.Reason)
	}
	return r
}
