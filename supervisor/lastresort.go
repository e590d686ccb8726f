package supervisor

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/stage2"
)

// standing is a tracer that can tell that it stands still.
type standing interface {
	StandsStill() bool
	KillTraced()
}

// lastResort ends hupt and the program when somebody asks for it and the tracer's
// thread, without which nobody can be told to end, hangs in a system call. done is
// closed when hupt ends by itself.
func lastResort(inherited stage2.Signals, tracer any, done <-chan struct{}) {
	t, ok := tracer.(standing)
	if !ok {
		return
	}
	c := make(chan os.Signal, 4)
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT} {
		if inherited.Ignored&(1<<(sig-1)) == 0 {
			signal.Notify(c, sig)
		}
	}
	go func() {
		defer signal.Stop(c)
		var look <-chan time.Time
		for {
			select {
			case <-c:
				if look == nil {
					ticker := time.NewTicker(500 * time.Millisecond)
					defer ticker.Stop()
					look = ticker.C
				}
			case <-look:
				if t.StandsStill() {
					fmt.Fprintf(os.Stderr, "hupt: asked to end while the tracer stands still: the program is killed\n")
					t.KillTraced()
					select {
					case <-done: // what the tracer hung on was the program's, and has gone with it
						return
					case <-time.After(2 * time.Second):
						os.Exit(128 + int(unix.SIGKILL)) // as it ended
					}
				}
			case <-done:
				return
			}
		}
	}()
}
