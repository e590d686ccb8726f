package load

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// due returns when request i of an open loop is to be sent.
func (r *Run) due(i int64) time.Time {
	return r.start.Add(time.Duration(float64(i) / r.o.Rate * float64(time.Second)))
}

// pace hands out the requests of an open loop as they fall due. The runtime's
// timers are up to 1 ms late when the process idles, because its epoll_wait
// counts in milliseconds; so this sleeps by itself, on a thread with the least
// timer slack. The thread is given up at the end, with its slack.
func (r *Run) pace() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer close(r.tickets)
	for i := int64(0); r.o.Requests == 0 || i < r.o.Requests; i++ {
		due := r.due(i)
		if r.o.Duration > 0 && due.Sub(r.start) >= r.o.Duration {
			return
		}
		for wait := time.Until(due); ; wait = time.Until(due) {
			select {
			case <-r.quit:
				// What was due before is handed out even if this is late.
				if due.After(r.quitAt) {
					return
				}
			default:
			}
			if wait <= 0 {
				break
			}
			// In pieces, so that Stop need not wait for a slow rate.
			ts := unix.NsecToTimespec(int64(min(wait, 10*time.Millisecond)))
			_ = unix.Nanosleep(&ts, nil)
		}
		select {
		case r.tickets <- i:
		case <-r.overdue:
			return
		}
	}
}

// drainTickets counts what was due but not sent.
func (r *Run) drainTickets() {
	if r.tickets == nil {
		return
	}
	var n int64
	for range r.tickets { // the pacer closes it
		n++
	}
	r.rec.addUnsent(n)
}
