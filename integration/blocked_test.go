package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// blockedMillis is how long each call of testdata/c/blocked.c blocks.
const blockedMillis = 2500

// blocked is a program with a thread in every call that can block.
func blocked(model string) *victim {
	return &victim{name: "blocked", program: "blocked", tag: bodyTag, check: checkBody, argv: func(s *site) []string {
		argv := []string{s.program(), fmt.Sprintf("port=%d", s.port), fmt.Sprintf("blocks=%d", blockedMillis)}
		if model != "" {
			argv = append(argv, "model="+model)
		}
		return argv
	}}
}

// TestBlockedCalls: whatever is done to a program under hupt, its blocked
// calls return what they return in the same program without hupt: no EINTR,
// no -512, nothing early, nothing late.
func TestBlockedCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, model string
		disturb     func(t *testing.T, i *instance, s *site, pid int)
		bareToo     bool // it can be done to the bare program, too
	}{
		{"nothing", "", func(*testing.T, *instance, *site, int) {}, true},
		{"ignored signals", "", func(t *testing.T, i *instance, s *site, pid int) {
			for range 10 {
				toThreads(pid, unix.SIGCHLD)
				toThreads(pid, unix.SIGWINCH)
				// One to the process wakes a thread, and while others are being stopped,
				// another one may take it: the one that it woke sees EINTR, and stops
				// nowhere (docs/ARCHITECTURE.md, The kernel's traps).
				await(t, "the signals have come", func() bool { return noSignals(pid) })
				unix.Kill(pid, unix.SIGURG)
				await(t, "the signal has come", func() bool { return noSignals(pid) })
				time.Sleep(50 * time.Millisecond)
			}
		}, true},
		{"ignored signals all the time", "", func(t *testing.T, i *instance, s *site, pid int) {
			// Longer than the report waits: each of them breaks every call off.
			for began := time.Now(); time.Since(began) < (2*blockedMillis+2000)*time.Millisecond; time.Sleep(blockedMillis / 5 * time.Millisecond) {
				toThreads(pid, unix.SIGWINCH)
			}
		}, true},
		{"stop and continue", "", func(t *testing.T, i *instance, s *site, pid int) {
			for range 3 {
				unix.Kill(pid, unix.SIGSTOP)
				time.Sleep(100 * time.Millisecond)
				unix.Kill(pid, unix.SIGCONT)
				time.Sleep(100 * time.Millisecond)
			}
		}, true},
		{"a handler with SA_RESTART", "handler", func(t *testing.T, i *instance, s *site, pid int) {
			for range 3 {
				toThreads(pid, unix.SIGUSR1)
				time.Sleep(100 * time.Millisecond)
			}
		}, true},
		{"a handler without SA_RESTART", "interrupt", func(t *testing.T, i *instance, s *site, pid int) {
			toThreads(pid, unix.SIGUSR1)
		}, true},
		{"a failed restart", "", func(t *testing.T, i *instance, s *site, pid int) {
			s.deployBad("exit:3")
			mustFail(t, i)
		}, false},
		{"rollbacks after the quiesce", "", func(t *testing.T, i *instance, s *site, pid int) {
			for range 2 {
				s.deployBad("dies:100")
				mustFail(t, i)
			}
		}, false},
		{"a restart that it outlives", "", func(t *testing.T, i *instance, s *site, pid int) {
			begin(t, withRequests(s.slow(2*blockedMillis+3000), 1)) // holds it until it has reported
			time.Sleep(100 * time.Millisecond)
			s.install(bake(t, "thread_per_request", "v1"), 0o755)
			i.restart()
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			undisturbed := func(*testing.T, *instance, *site, int) {}
			want := reportOf(t, c.model, true, undisturbed)
			got := reportOf(t, c.model, false, c.disturb)
			if c.bareToo {
				// What a stop and SIGCONT interrupt bare may as well not be.
				disturbed := reportOf(t, c.model, true, c.disturb)
				got = better(got, disturbed, want)
				want = disturbed
			}
			diff(t, "a blocked call", want, got)
		})
	}
}

// better returns got with each line that is as if nothing had happened, but
// would be worse in want, put as want has it.
func better(got, want, undisturbed string) string {
	g, w, u := strings.Split(got, "\n"), strings.Split(want, "\n"), strings.Split(undisturbed, "\n")
	for n := range g {
		if n < len(w) && n < len(u) && g[n] == u[n] {
			g[n] = w[n]
		}
	}
	return strings.Join(g, "\n")
}

// noDeadline are the calls whose time-out the kernel starts anew when it
// restarts them after an interruption. hupt keeps the interruption from the
// program, and ends them, but when they began it does not know: such a call may take
// longer, by what had passed until the first interruption.
var noDeadline = regexp.MustCompile(`(?m)^((?:epoll_\w+|recv_timeout|recvmmsg_timeout|read_timeout|send_timeout|connect_timeout|accept_timeout|sigtimedwait|semtimedop|io_getevents|ring_timeout) .*) late$`)

// reportOf runs the program, disturbs it while every thread is blocked, and
// returns what it reports.
func reportOf(t *testing.T, model string, bare bool, disturb func(*testing.T, *instance, *site, int)) string {
	t.Helper()
	s := newSite(t, blocked(model))
	i := launchAt(t, s.dir, launch{bare: bare, flags: []string{"--allow-io-uring"}, argv: s.argv(), env: s.env()})
	pid := s.awaitAnswer().pid
	time.Sleep(400 * time.Millisecond)
	disturb(t, i, s, pid)
	report := filepath.Join(s.dir, "report-"+strconv.Itoa(pid))
	await(t, "the report of the blocked calls", func() bool { _, err := os.Stat(report); return err == nil })
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	return noDeadline.ReplaceAllString(string(text), "$1 in-time")
}

// toThreads sends a signal to each thread of a process.
func toThreads(pid int, s unix.Signal) {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			unix.Tgkill(pid, tid, s)
		}
	}
}

// noSignals reports whether no signal to any thread of the process is pending, or
// being delivered.
func noSignals(pid int) bool {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", pid, task.Name()))
		if onItsWay.Match(status) {
			return false
		}
	}
	return true
}

var onItsWay = regexp.MustCompile(`(?m)^State:\t[tT] |^(?:SigPnd|ShdPnd):\t0*[1-9a-f]`)

func mustFail(t *testing.T, i *instance) {
	t.Helper()
	if out, code := i.hupt("restart", "--timeout", readyLimit.String()); code == 0 {
		t.Errorf("a restart to a bad version succeeds:\n%s", out)
	}
}

// diff fails the test with the lines that differ.
func diff(t *testing.T, what, bare, under string) {
	t.Helper()
	if bare == under {
		return
	}
	b, u := lineSet(bare), lineSet(under)
	var out strings.Builder
	for line := range strings.Lines(bare) {
		if !u[line] {
			fmt.Fprintf(&out, "  bare:       %s", line)
		}
	}
	for line := range strings.Lines(under) {
		if !b[line] {
			fmt.Fprintf(&out, "  under hupt: %s", line)
		}
	}
	if out.Len() == 0 {
		out.WriteString("  the same lines in another order or number")
	}
	t.Errorf("%s can tell that hupt is there:\n%s", what, out.String())
}

func lineSet(text string) map[string]bool {
	set := map[string]bool{}
	for line := range strings.Lines(text) {
		set[line] = true
	}
	return set
}
