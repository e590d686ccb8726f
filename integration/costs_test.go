package integration

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// costs is the processor time that each test's processes took: hupt, what ran
// under it, and hupt's commands. What ran under hupt is in hupt's own account
// once hupt waited for it (wait4(2) counts waited-for descendants). Clients run
// in the test process, which is shared and told apart from nothing.
var costs = struct {
	sync.Mutex
	of map[string]time.Duration
}{of: map[string]time.Duration{}}

// charge adds what an ended process took to a test's account.
func charge(test string, cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		return
	}
	top, _, _ := strings.Cut(test, "/")
	costs.Lock()
	defer costs.Unlock()
	costs.of[top] += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// tellCosts prints which tests took most, if HUPT_COSTS asks for it.
func tellCosts() {
	if os.Getenv("HUPT_COSTS") == "" {
		return
	}
	costs.Lock()
	defer costs.Unlock()
	var names []string
	var all time.Duration
	for name, took := range costs.of {
		names, all = append(names, name), all+took
	}
	slices.SortFunc(names, func(a, b string) int { return int(costs.of[b] - costs.of[a]) })
	fmt.Printf("processor time: %v of processes that the tests started, %v of the tests' own\n", all.Round(time.Second/10), ownTime().Round(time.Second/10))
	for _, name := range names {
		fmt.Printf("%8.1f s  %s\n", costs.of[name].Seconds(), name)
	}
}

// ownTime is the processor time of this process.
func ownTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
