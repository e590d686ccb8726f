package load

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Wake is how late the machine woke a thread that slept.
type Wake struct {
	At   time.Time // when it woke
	Late time.Duration
}

// mostWakes bounds what a long watch remembers: more than an hour's.
const mostWakes = 1 << 20

// WatchMachine measures how late the machine wakes a thread that sleeps: what
// any request suffers, whoever answers it. The function that it returns ends
// the watch and tells.
func WatchMachine() func() []Wake {
	quit, done := make(chan struct{}), make(chan []Wake)
	go func() {
		runtime.LockOSThread() // see pace
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		var wakes []Wake
		const nap = 4 * time.Millisecond
		for {
			select {
			case <-quit:
				done <- wakes
				return
			default:
			}
			ts := unix.NsecToTimespec(int64(nap))
			began := time.Now()
			_ = unix.Nanosleep(&ts, nil)
			if now := time.Now(); len(wakes) < mostWakes {
				wakes = append(wakes, Wake{now, now.Sub(began) - nap})
			}
		}
	}()
	return func() []Wake { close(quit); return <-done }
}
