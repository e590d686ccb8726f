package supervisor

import "testing"

// TestProgramOf: of a pool that was rolled back, any process may have ended by itself.
func TestProgramOf(t *testing.T) {
	want := initialProgram([]string{"serves"})
	ended := &member{Supervisor: &Supervisor{calls: make(chan func()), done: make(chan struct{})}}
	close(ended.done)
	runs := &member{Supervisor: &Supervisor{calls: make(chan func()), done: make(chan struct{}), program: want}}
	go func() { (<-runs.calls)() }()
	if got := programOf([]*member{ended, runs}); got != want {
		t.Errorf("%v", got)
	}
	if got := programOf([]*member{ended}); got != nil {
		t.Errorf("%v of none", got)
	}
}
