package supervisor

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/stage2"
	"hupt/tracer"
)

func itoa(n int) string { return strconv.Itoa(n) }

// sent is a signal to hupt.
func (r *run) sent(sig syscall.Signal) { r.call(func() { r.caught(sig) }) }

// got is a signal from outside that the tracer saw a process get.
func (r *run) got(kind tracer.NoteKind, sig unix.Signal, n, pid int) {
	r.tell(tracer.Note{Kind: kind, Generation: r.gen(n), PID: pid, Signal: sig})
}

// settled waits until hupt has decided about the signals so far.
func (r *run) settled() { time.Sleep(together + 50*time.Millisecond) }

func TestSignalsArePassedOn(t *testing.T) {
	r := start(t)
	for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGWINCH, 40} {
		r.sent(sig)
	}
	r.asked("signal 1 SIGUSR1")
	r.asked("signal 1 SIGWINCH")
	r.asked("signal 1 ")

	r.sent(unix.SIGCONT) // hupt was stopped, the program was not
	r.settled()
	r.never("signal 1 SIGCONT")
	r.got(tracer.NoteGroupStop, unix.SIGSTOP, 1, 1001)
	r.sent(unix.SIGCONT)
	r.asked("signal 1 SIGCONT")
}

// TestOneSignalToBoth: what the terminal or systemd gives to hupt and to the
// program is not passed on, whichever of them is heard first.
func TestOneSignalToBoth(t *testing.T) {
	for name, order := range map[string]func(r *run){
		"hupt first": func(r *run) {
			r.sent(unix.SIGINT)
			r.got(tracer.NoteOutsideSignal, unix.SIGINT, 1, 1001)
		},
		"program first": func(r *run) {
			r.got(tracer.NoteOutsideSignal, unix.SIGINT, 1, 1001)
			time.Sleep(together / 5)
			r.sent(unix.SIGINT)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			order(r)
			r.await(EventStopping)
			r.never("signal 1 SIGINT")
		})
	}
	t.Run("program much later", func(t *testing.T) {
		r := start(t)
		r.fakeTracer.willGet(unix.SIGUSR1)
		r.sent(unix.SIGUSR1)
		r.sent(40)
		r.asked("signal 1 ") // the second
		r.never("signal 1 SIGUSR1")
	})
	t.Run("not the main process", func(t *testing.T) {
		r := start(t)
		r.got(tracer.NoteOutsideSignal, unix.SIGINT, 1, 4711)
		r.sent(unix.SIGINT)
		r.asked("signal 1 SIGINT")
	})
	t.Run("another signal", func(t *testing.T) {
		r := start(t)
		r.got(tracer.NoteOutsideSignal, unix.SIGQUIT, 1, 1001)
		r.sent(unix.SIGINT)
		r.asked("signal 1 SIGINT")
	})
	t.Run("long ago", func(t *testing.T) {
		r := start(t)
		r.got(tracer.NoteOutsideSignal, unix.SIGUSR1, 1, 1001)
		r.settled()
		r.sent(unix.SIGUSR1)
		r.asked("signal 1 SIGUSR1")
	})
}

// TestStopOfBoth: what the terminal stops is stopped once, the program and hupt,
// whichever of them is heard first, and however much later the other one is.
func TestStopOfBoth(t *testing.T) {
	for name, c := range map[string]struct {
		passedOn bool
		order    func(r *run)
	}{
		"hupt first": {false, func(r *run) {
			r.sent(unix.SIGTSTP)
			r.got(tracer.NoteOutsideSignal, unix.SIGTSTP, 1, 1001)
			r.got(tracer.NoteGroupStop, unix.SIGTSTP, 1, 1001)
		}},
		"program long before": {false, func(r *run) {
			r.got(tracer.NoteOutsideSignal, unix.SIGTSTP, 1, 1001)
			r.got(tracer.NoteGroupStop, unix.SIGTSTP, 1, 1001)
			r.settled()
			r.sent(unix.SIGTSTP)
		}},
		"hupt alone": {true, func(r *run) {
			r.sent(unix.SIGTSTP)
			r.asked("signal 1 SIGTSTP")
			r.got(tracer.NoteGroupStop, unix.SIGTSTP, 1, 1001)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			stops := 0
			r.call(func() { r.stopSelf = func() { stops++ } })
			c.order(r)
			r.settled()
			r.call(func() {
				if stops != 1 {
					t.Errorf("hupt was stopped %d times", stops)
				}
			})
			if !c.passedOn {
				r.never("signal 1 SIGTSTP")
			}
		})
	}
}

// TestBurstIsOneRestart: `killall -HUP` reaches hupt and every process.
func TestBurstIsOneRestart(t *testing.T) {
	r := start(t)
	for pid := range 5 {
		r.got(tracer.NoteRestartSignal, unix.SIGHUP, 1, 1001+pid)
	}
	r.sent(unix.SIGHUP)
	r.asked("launch 2")
	r.got(tracer.NoteRestartSignal, unix.SIGHUP, 1, 1001)
	r.settled()
	r.never("signal 1 SIGHUP")
	r.serve(2)
	r.await(EventConfirmed)
	r.settled()
	r.never("launch 3")
}

// TestRestartSignalInARestart is done when that restart is over.
func TestRestartSignalInARestart(t *testing.T) {
	r := start(t)
	r.sent(unix.SIGHUP)
	r.asked("launch 2")
	time.Sleep(300 * time.Millisecond) // no burst any more
	r.sent(unix.SIGHUP)
	if e := r.await(EventWarning); !strings.Contains(e.Reason, "generation 2 is starting") {
		t.Error(e.Reason)
	}
	r.never("launch 3")
	r.serve(2)
	r.await(EventConfirmed)
	r.asked("launch 3")
}

func TestNoRestartSignal(t *testing.T) {
	r := start(t, func(c *Config, _ *fakeTracer) { c.RestartSignal = 0 })
	r.sent(unix.SIGHUP)
	r.asked("signal 1 SIGHUP")
	r.never("launch 2")
}

func TestHammer(t *testing.T) {
	r := start(t, func(_ *Config, f *fakeTracer) { f.stubborn = true })
	if _, _, err := r.Restart(RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	r.asked("launch 2")
	r.serve(2)
	r.await(EventConfirmed)
	r.asked("signal 1 SIGTERM")
	r.sent(unix.SIGUSR2)
	r.asked("kill 1", "forget 1")
	r.never("kill 2")
}

// TestHangupWhileStarting: one that comes while the first version is on its way
// is not lost, and does not begin a second one beside it before that serves.
func TestHangupWhileStarting(t *testing.T) {
	r := begin(t)
	r.await(EventStarting)
	r.call(func() { r.again = true })
	r.call(r.mayBeginAgain)
	r.never("launch 2")
	r.serve(1)
	r.asked("settle 1", "launch 2")
}

// TestRememberedHangup: one that came while a rescue was under way is carried out
// when that is over, not at the end of some later restart.
func TestRememberedHangup(t *testing.T) {
	r := start(t)
	r.call(func() { r.again = true })
	r.call(func() { r.step(generation.HammerWanted{}) }) // anything
	r.asked("settle 1", "launch 2")
}

// TestOrders: one order to stop that reaches hupt twice is one.
func TestOrders(t *testing.T) {
	var o orders
	now := time.Now()
	if o.again(now) || !o.again(now.Add(time.Millisecond)) || !o.again(now.Add(burst-1)) || o.again(now.Add(burst)) {
		t.Error("told apart wrongly")
	}
}

// TestMeant: what came before there was an instance means what it would later.
func TestMeant(t *testing.T) {
	c := make(chan os.Signal, 8)
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGUSR2} {
		c <- sig
	}
	meant(c, stage2.Signals{Ignored: 1 << (unix.SIGINT - 1)}, unix.SIGHUP)
	if len(c) != 2 || <-c != unix.SIGTERM || <-c != unix.SIGUSR2 {
		t.Error("something else is left")
	}
}
