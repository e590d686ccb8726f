package tracer

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watchdog looks after the tracer's thread, which everything waits for. What it
// does is bounded, but for the system calls that it makes on what is a program's:
// the last close of a connection with SO_LINGER, a look into memory that some
// user space serves (userfaultfd(2), fuse(4)). The former a signal breaks off.
// Of the latter, hupt can at least be ended.
type watchdog struct {
	tid  atomic.Int64 // the thread's
	last atomic.Int64 // when it last got on with what it does, in ns since 1970; 0: it does nothing
	told atomic.Bool
}

const (
	dogTick = 500 * time.Millisecond
	// standsStill is how long the thread may be in one system call until it is
	// said to stand still.
	standsStill = 4 * time.Second
)

func (d *watchdog) progress() { d.last.Store(time.Now().UnixNano()) }

func (d *watchdog) idle() { d.last.Store(0) }

// still is how long the thread has not got on.
func (d *watchdog) still() time.Duration {
	last := d.last.Load()
	if last == 0 {
		return 0
	}
	return time.Since(time.Unix(0, last))
}

func (d *watchdog) run() {
	for range time.Tick(dogTick) {
		still := d.still()
		if still < dogTick/2 {
			continue
		}
		// Go's own signal to interrupt a goroutine, which does nothing here. A wait
		// for a connection to be closed ends at any.
		tid := int(d.tid.Load())
		unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
		if still > standsStill && !d.told.Swap(true) {
			fmt.Fprintf(os.Stderr, "hupt: the tracer has stood still for %.0fs in system call %s, over something of the program's; the program serves on, restarts wait; TERM to hupt (pid %d) kills both\n",
				still.Seconds(), callOf(tid), os.Getpid())
		}
	}
}

// callOf is what a thread of this process is in (/proc/PID/syscall, proc(5)).
func callOf(tid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
	if err != nil {
		return "unknown"
	}
	nr, _, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	return nr
}

// StandsStill reports whether the tracer's thread hangs in a system call: what
// is asked of it by Do is not done.
func (t *Tracer) StandsStill() bool { return t.dog.still() > standsStill }

// KillTraced kills whatever is traced, by what /proc says of it, without the
// tracer's thread. A task that is stopped need not be let go to die.
func (t *Tracer) KillTraced() {
	tracer := strconv.FormatInt(t.dog.tid.Load(), 10)
	for range 3 { // what is born meanwhile
		all, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range all {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil {
				continue
			}
			tasks, _ := os.ReadDir(dir + "/task")
			for _, task := range tasks {
				tid, _ := strconv.Atoi(task.Name())
				traced := false
				eachStatus(tid, func(name, v string) { traced = traced || name == "TracerPid" && v == tracer })
				if traced {
					unix.Kill(pid, unix.SIGKILL)
					break
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}
