package supervisor

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"hupt/stage2"
)

// early has the signals that came before there was an instance; nil: nobody
// asked for them.
var early chan os.Signal

// CatchEarly asks for signals before hupt knows what they mean to it: until it
// does, which takes a tenth of a second on a slow machine, one would end it by
// its default. It is for the very beginning of a process that will run an
// instance, and called once.
func CatchEarly() {
	stage2.NoteSignals()
	early = make(chan os.Signal, 64)
	for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2} {
		if !signal.Ignored(sig) {
			signal.Notify(early, sig)
		}
	}
}

// Early are the signals that CatchEarly asked for, for a process that runs no
// instance after all; nil: it was not called.
func Early() <-chan os.Signal { return early }

// EndEarly is for a process that executes hupt anew, once it has given signals
// their defaults: it tells of those that came before and were not yet meant, but for
// the one that restarts, which the start covers.
func EndEarly(restart syscall.Signal) (came []syscall.Signal) {
	signal.Stop(early) // what is on its way comes before this returns
	for range len(early) {
		if sig := (<-early).(syscall.Signal); sig != restart {
			came = append(came, sig)
		}
	}
	return came
}

// meant takes out of the signals that came so far those that mean nothing: what
// is ignored, and an order to restart what is about to be started.
func meant(c chan os.Signal, inherited stage2.Signals, restart syscall.Signal) {
	for range len(c) {
		sig := (<-c).(syscall.Signal)
		if inherited.Ignored&(1<<(sig-1)) == 0 && sig != restart {
			c <- sig
		}
	}
}
