// Package machine measures how fast this machine is just now, for tests: how
// long they wait for what should happen at once, and what they compare a time
// with, depends on it.
package machine

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What the three measures take on a machine with a factor of 1: one where
// nothing else runs, and a fork and wait takes a fifth of a millisecond.
const (
	usualFork    = 200 * time.Microsecond
	usualSwitch  = 10 * time.Microsecond
	usualRequest = 150 * time.Microsecond
)

// mostFactor bounds a factor: a measure that was caught by a moment in which the
// machine stood still must not make a test wait for hours.
const mostFactor = 20

// Speed is what was measured.
type Speed struct {
	Fork    time.Duration // a fork whose child exits at once, and the wait for it
	Switch  time.Duration // from one thread to another that waits on a pipe
	Request time.Duration // a connection on the loopback, a byte there and a byte back
}

// rounds and round: each measure is the median of so many means, each over at
// least so much time. A throttled control group runs at full speed for a part
// of each tenth of a second and then not at all: no single call tells that.
const (
	rounds = 3
	round  = 60 * time.Millisecond
)

// Measure takes about half a second.
func Measure() Speed {
	return Speed{median(forkAndWait), median(switchAndBack) / 2, median(request)}
}

// Factor is how many times slower than usual the slowest of the three is, 1 at
// least. HUPT_SLOWER is a number that it is multiplied with: who throttles a
// suite knows how much better than the half second that it is measured in.
func (s Speed) Factor() float64 {
	f := max(float64(s.Fork)/float64(usualFork), float64(s.Switch)/float64(usualSwitch), float64(s.Request)/float64(usualRequest), 1)
	if by, err := strconv.ParseFloat(os.Getenv("HUPT_SLOWER"), 64); err == nil && by > 1 {
		f *= by
	}
	return min(f, mostFactor)
}

// String is for people.
func (s Speed) String() string {
	us := func(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
	return fmt.Sprintf("fork and wait %s, context switch %.1f µs, request %s; factor %.1f", us(s.Fork), float64(s.Switch)/1e3, us(s.Request), s.Factor())
}

// Load is the load average of the last minute, as proc(5) has it, and how many
// processors there are.
func Load() (average string, processors int) {
	text, _ := os.ReadFile("/proc/loadavg")
	average, _, _ = strings.Cut(string(text), " ")
	return average, runtime.NumCPU()
}

var atStart = sync.OnceValue(func() float64 { return Measure().Factor() })

// Patience is d, which is for a usual machine, on this one as it was when this
// was called for the first time. It is for limits that are not about time
// itself: what should happen, but may take long, since the machine does.
func Patience(d time.Duration) time.Duration {
	return time.Duration(float64(d) * atStart())
}

// Pace is rate, what a usual machine can do in a second, on this one as it was when this
// or Patience was called for the first time, but not below least.
func Pace(rate, least float64) float64 { return max(least, rate/atStart()) }

// median is that of several means.
func median(once func() (func(), func())) time.Duration {
	one, end := once()
	defer end()
	one() // what is done for the first time takes longer
	var means []time.Duration
	for range rounds {
		began := time.Now()
		n := 0
		for n == 0 || time.Since(began) < round { // once, though it stood still for longer than that
			one()
			n++
		}
		means = append(means, time.Since(began)/time.Duration(n))
	}
	slices.Sort(means)
	return means[rounds/2]
}
