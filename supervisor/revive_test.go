package supervisor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/generation"
)

func reviving(max int, delay time.Duration) func(*Config, *fakeTracer) {
	return func(c *Config, _ *fakeTracer) {
		c.Revive, c.ReviveMax, c.ReviveDelay, c.ReviveReset = generation.ReviveAlways, max, delay, time.Minute
	}
}

func TestRevive(t *testing.T) {
	failing := true
	r := start(t, reviving(0, 50*time.Millisecond), func(_ *Config, f *fakeTracer) {
		f.launch = func(n int) error {
			if n == 3 && failing {
				return errors.New("no such program")
			}
			return nil
		}
	})
	for n, status := range []unix.WaitStatus{0, unix.WaitStatus(unix.SIGKILL)} {
		r.fakeTracer.end(n+1, status)
		if e := r.await(EventReviving); n == 1 && (e.After != 0.05 || !strings.HasPrefix(e.Reason, "it was killed by SIGKILL")) {
			t.Errorf("%+v", e)
		}
		if n == 0 {
			r.serve(2)
			r.await(EventServing)
		}
	}
	if e := r.await(EventFailed); !strings.Contains(e.Reason, "no such program") {
		t.Errorf("%+v", e)
	}
	if e := r.await(EventReviving); e.After != 0.1 {
		t.Errorf("%+v", e)
	}
	r.serve(4)
	r.await(EventServing)
	r.restarted(5, RestartOptions{})
	r.stop()
	r.finish()
	if got := r.fakeTracer.done(); strings.Contains(got, "launch 6") {
		t.Errorf("a stop is followed by %s", got)
	}
}

// TestRevivePause: a stop ends it, and a restart does not wait for it.
func TestRevivePause(t *testing.T) {
	r := start(t, reviving(0, time.Hour))
	r.fakeTracer.end(1, 0x0300)
	r.gen(2)
	r.await(EventStarting)
	r.fakeTracer.end(2, 0x0300)
	for r.await(EventReviving).After == 0 {
	}
	if st := r.Status(false); st.State != "reviving" {
		t.Errorf("%+v", st)
	}
	r.restarted(3, RestartOptions{})
	r.fakeTracer.end(3, 0x0400)
	for r.await(EventReviving).After == 0 {
	}
	r.stop()
	if code, err := r.finish(); code != 4 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
}

func TestReviveGivesUp(t *testing.T) {
	r := start(t, reviving(2, time.Millisecond))
	for n := 1; n <= 3; n++ {
		r.gen(n)
		if n > 1 {
			r.await(EventStarting)
		}
		r.fakeTracer.end(n, unix.WaitStatus(n<<8))
	}
	if e := r.await(EventFailed); !strings.Contains(e.Reason, "the program ended 3 times in a row") || e.Source != FailedRevive {
		t.Errorf("%+v", e)
	}
	if code, _ := r.finish(); code != 3 {
		t.Errorf("exit code %d", code)
	}
}
