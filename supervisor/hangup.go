package supervisor

import (
	"time"

	"golang.org/x/sys/unix"
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
	// burstSame is the same for two of one process that has ended since: it was a
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
	case sender == h.sender && unix.Kill(sender, 0) == unix.ESRCH:
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
