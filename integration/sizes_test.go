package integration

import (
	"os"
	"strconv"
	"time"

	"hupt/internal/machine"
)

// How heavy the suite is. HUPT_SCALE=4 makes a quarter of the requests and of
// the marathon's restarts, for a second pass over what a full one has shown.
const (
	requestsPerServer = 100_000 // on new connections, in all; slow servers say their own number and why
	restartsPerServer = 20      // at least, spread over those requests
	clients           = 8       // at once, each with a new connection for each request
	slowRestarts      = 20      // with requests in flight that take slowMillis
	slowMillis        = 500
	marathonRestarts  = 300
	marathonSettled   = 20 // by then memory and descriptors must have settled
	stopsRequests     = 100_000
	unixRestarts      = 5      // of each server on a Unix socket
	knockRestarts     = 50     // while somebody connects in a tight loop
	knocks            = 10_000 // at least
)

// startupSleep is how long a slow version takes to start: much longer than a
// request takes on this machine.
var startupSleep = min(machine.Patience(3*time.Second), 8*time.Second).Round(time.Millisecond)

// readyLimit is a limit for a version that must not be let in: enough for one that
// fails by itself, and waited for in full where it hangs.
var readyLimit = min(machine.Patience(2*time.Second), 8*time.Second).Round(time.Millisecond)

// patience is how long anything that should happen at once may take on a
// machine that is busy with other things, more on one that is slow. It matters
// to who fails, only, so it is long. What is about time itself is not judged by
// it, but beside something bare, or by a machine.Watch.
var patience = machine.Patience(time.Minute)

// scale divides n as HUPT_SCALE asks.
func scale(n int) int {
	if by, err := strconv.Atoi(os.Getenv("HUPT_SCALE")); err == nil && by > 1 {
		return max(1, n/by)
	}
	return n
}

// small is a suite for looking often rather than hard: its clients make a pause
// between requests, so that many tests find room on one machine.
func small() bool { return scale(100) < 2 }

// few is at least how many restarts a test makes: n, and two in a small suite.
func few(n int) int {
	if small() {
		return 2
	}
	return n
}
