package smoke_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"hupt/smoke"
)

// In a test of your server: every check that fails fails the test.
func ExampleTest() {
	_ = func(t *testing.T) {
		smoke.Test(t, smoke.Options{
			Command: []string{"./server", "--listen", "127.0.0.1:8080"},
			Limits:  smoke.Limits{MaxP99: 50 * time.Millisecond},
		})
	}
}

// Outside of tests, the report tells all that was measured.
func ExampleRun() {
	r, err := smoke.Run(context.Background(), smoke.Options{Command: []string{"./server"}, Restarts: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Outcome, r.Measured.Load.Failures, "failed")
	for _, c := range r.Failures() {
		fmt.Println(c.Name, c.Figure)
	}
}
