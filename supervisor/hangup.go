package supervisor

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// hangups tells one killall, which signals hupt and each process of the program,
// from two. They are heard of one after the other, on a busy machine seconds
// apart; when they were sent, nothing tells.
type hangups struct {
	last   time.Time // when the one that began a restart was heard of
	sender int       // its pid; 0: not known
}

const (
	// burst is how far apart two of whatever senders may be and count as one.
	burst = 100 * time.Millisecond
	// burstUnknown is the same where the sender of one of them is not known: Go
	// does not tell who signalled hupt itself.
	burstUnknown = 250 * time.Millisecond
	// burstSame is the same for two of one process that does nothing else: a
	// killall, or kill(1) with several pids, and not a shell that goes on.
	burstSame = 5 * time.Second
)

// again reports whether a signal belongs with the one that began a restart. If
// not, it begins one of its own.
func (h *hangups) again(sender int, now time.Time) bool {
	within := burst
	switch {
	case sender == 0 || h.sender == 0:
		within = burstUnknown
	case sender == h.sender && isOneShot(sender):
		within = burstSame
	}
	if now.Sub(h.last) < within {
		if h.sender == 0 {
			h.sender = sender
		}
		return true
	}
	h.last, h.sender = now, sender
	return false
}

// isOneShot reports whether a process has ended, or is one that signals and
// ends.
func isOneShot(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	// pid (comm) state…; the name may have any character in it.
	text := string(b)
	open, end := strings.IndexByte(text, '('), strings.LastIndex(text, ") ")
	if open < 0 || end < open || end+2 >= len(text) {
		return false
	}
	switch text[open+1 : end] {
	case "kill", "killall", "pkill":
		return true
	}
	return text[end+2] == 'Z' || text[end+2] == 'X'
}
