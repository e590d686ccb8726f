package load

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// WatchMachine measures how late the machine wakes a thread that sleeps: what
// any request suffers, whoever answers it. The function that it returns ends
// the watch and tells.
func WatchMachine() func() Latency {
	quit, done := make(chan struct{}), make(chan Latency)
	go func() {
		runtime.LockOSThread() // see pace
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		h := newHistogram()
		const nap = 4 * time.Millisecond
		for {
			select {
			case <-quit:
				done <- latencyOf(h)
				return
			default:
			}
			ts := unix.NsecToTimespec(int64(nap))
			began := time.Now()
			_ = unix.Nanosleep(&ts, nil)
			record(h, time.Since(began)-nap)
		}
	}()
	return func() Latency { close(quit); return <-done }
}
