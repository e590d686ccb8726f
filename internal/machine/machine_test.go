package machine

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Everything is measured, nothing takes no time, and a factor is in its bounds.
func TestMeasure(t *testing.T) {
	s := Measure()
	if s.Fork < time.Microsecond || s.Switch < 100*time.Nanosecond || s.Request < time.Microsecond {
		t.Errorf("%v", s)
	}
	if f := s.Factor(); f < 1 || f > mostFactor {
		t.Errorf("a factor of %v", f)
	}
	if average, processors := Load(); average == "" || processors < 1 {
		t.Errorf("load average %q, %d processors", average, processors)
	}
}

// The slowest of the three counts, in bounds, and what somebody else knows.
func TestFactor(t *testing.T) {
	for _, c := range []struct {
		s    Speed
		hint string
		want float64
	}{
		{Speed{}, "", 1},
		{Speed{usualFork, usualSwitch, usualRequest}, "", 1},
		{Speed{usualFork * 4, usualSwitch, usualRequest * 2}, "", 4},
		{Speed{usualFork, usualSwitch * 3, usualRequest * 2}, "", 3},
		{Speed{usualFork * 4, usualSwitch, usualRequest}, "2.5", 10},
		{Speed{usualFork, usualSwitch, usualRequest}, "0.1", 1},
		{Speed{usualFork, usualSwitch, usualRequest}, "nonsense", 1},
		{Speed{usualFork * 4000, 0, 0}, "", mostFactor},
	} {
		t.Setenv("HUPT_SLOWER", c.hint)
		if got := c.s.Factor(); got != c.want {
			t.Errorf("%+v with HUPT_SLOWER=%s: %v, want %v", c.s, c.hint, got, c.want)
		}
	}
	t.Setenv("HUPT_SLOWER", "")
	if d := Patience(time.Second); d < time.Second || d > mostFactor*time.Second {
		t.Errorf("a patience of %v", d)
	}
}

// No child is left of all those forks.
func TestForkLeavesNothing(t *testing.T) {
	one, end := forkAndWait()
	for range 20 {
		one()
	}
	end()
	out, err := exec.Command("ps", "-o", "stat=", "--ppid", strconv.Itoa(os.Getpid())).Output()
	if err == nil && strings.Contains(string(out), "Z") {
		t.Errorf("zombies: %s", out)
	}
}

// A machine that stands still for a moment is seen by who watches.
func TestWatch(t *testing.T) {
	w := Begin()
	time.Sleep(4 * moment)
	worst, factor := w.End()
	if worst <= 0 || factor < 1 || factor > mostFactor {
		t.Errorf("%v late, a factor of %v", worst, factor)
	}
}
