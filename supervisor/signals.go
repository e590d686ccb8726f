package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/stage2"
)

// together is how far apart one signal to a whole group can reach hupt and the
// program. A Ctrl-C, a `kill -TERM -GROUP` or systemd's KillMode=control-group
// gives it to both; passing it on would give it to the program twice.
const together = 50 * time.Millisecond

// catch asks for every signal that somebody may send to hupt, of which restart is
// the one that restarts. SIGURG, SIGCHLD and SIGPIPE are the runtime's and the
// kernel's own business.
func catch(inherited stage2.Signals, restart syscall.Signal) <-chan os.Signal {
	c := early
	if c == nil {
		c = make(chan os.Signal, 64)
	}
	for n := syscall.Signal(1); n <= 64; n++ {
		switch n {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGURG, unix.SIGCHLD, unix.SIGPIPE,
			unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV,
			unix.SIGSYS, unix.SIGPROF, 32, 33, 34:
			continue
		case unix.SIGINT, unix.SIGQUIT, unix.SIGTERM:
			// A script's background job has Ctrl-C ignored: so does the program.
			if inherited.Ignored&(1<<(n-1)) != 0 {
				signal.Ignore(n)
				continue
			}
		}
		signal.Notify(c, n)
	}
	meant(c, inherited, restart)
	return c
}

// caught: somebody sent hupt a signal.
func (s *Supervisor) caught(sig syscall.Signal) {
	switch sig {
	case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		if s.late {
			s.late = false // what stopped the program, and hupt before it read this
			return
		}
		s.terminal[sig], s.caughtStop = time.Now(), time.Now()
		if s.stopped {
			// Its stop was heard of first, however long ago: it had this one, and
			// passed on, it would stop again as soon as it is continued.
			s.stopToo()
			return
		}
	}
	if ends(sig) {
		s.told = true
		if s.stops.again(time.Now()) {
			return
		}
	}
	// The program may be about to get the same one: wait, then look.
	since := time.Now().Add(-together)
	time.AfterFunc(together, func() {
		s.call(func() {
			s.decide(sig, s.had(sig, since))
		})
	})
}

// ends reports whether a signal to hupt ends the program.
func ends(sig os.Signal) bool {
	return sig == unix.SIGTERM || sig == unix.SIGINT || sig == unix.SIGQUIT
}

// orders tells one order to stop from two. timeout(1), docker stop and systemd
// send the same signal to a process and to its group, microseconds apart.
type orders struct{ last time.Time }

// again reports whether one belongs with the one before.
func (o *orders) again(now time.Time) bool {
	if now.Sub(o.last) < burst {
		return true
	}
	o.last = now
	return false
}

// wasAsked reports whether the program ended because hupt, or both, were told so:
// it may have gone before hupt read its own signal.
func (s *Supervisor) wasAsked(sigs <-chan os.Signal) bool {
	for {
		select {
		case sig := <-sigs:
			s.told = s.told || ends(sig)
		default:
			return s.told || s.machine.State() == "stopping"
		}
	}
}

// delivery is a signal that a main process got from outside; of the restart
// signal, which counts whoever got it, pid is 0.
type delivery struct {
	sig syscall.Signal
	pid int
}

// had reports whether the program got a signal since then. It is the main
// process of now that counts: the one that got it may have died of it, and been
// revived.
func (s *Supervisor) had(sig syscall.Signal, since time.Time) bool {
	if s.outside[delivery{sig, 0}].After(since) {
		return true
	}
	g := s.gens[s.machine.Serving()]
	if g == nil {
		return false
	}
	return s.outside[delivery{sig, g.main}].After(since) || g.traced != nil && s.tracer.Had(g.traced, g.main, sig, since)
}

// decide what a signal to hupt means. had: the program got it, too.
func (s *Supervisor) decide(sig syscall.Signal, had bool) {
	switch {
	case sig == s.cfg.RestartSignal && sig != 0:
		if !had {
			s.restartBySignal(0)
		}
	case ends(sig):
		s.step(generation.StopWanted{Signal: int(sig), Sent: had})
	case sig == unix.SIGUSR2:
		s.step(generation.HammerWanted{})
	case sig == unix.SIGCONT:
		if s.stopped {
			s.forward(sig)
		}
	case !had:
		s.forward(sig)
	}
}

// forward passes a signal on to the main process of the serving generation.
func (s *Supervisor) forward(sig syscall.Signal) {
	if g := s.gens[s.machine.Serving()]; g != nil && g.traced != nil {
		s.tracer.Signal(g.traced, g.main, sig)
	}
}

// aboutToLaunch: a restart has begun, or hupt itself has, and the program is still
// to be executed. Whatever was put in place before a signal that comes now will be
// executed.
func (s *Supervisor) aboutToLaunch() bool {
	for _, g := range s.gens {
		if g.traced == nil && !g.executes.Load() {
			return g.n == 1 || s.isRestarting()
		}
	}
	return false
}

// mayBeginAgain begins the restart that a signal asked for when none could
// begin, as soon as one can: whatever was in its way.
func (s *Supervisor) mayBeginAgain() {
	if !s.again || s.ended || s.machine.State() != "running" || s.machine.Serving() == 0 || s.machine.Busy() != "" {
		return
	}
	if rises, listens := s.machine.Rises(time.Now()); rises > 0 && (listens || !s.hasSocket()) {
		time.AfterFunc(min(rises, generation.FirstSettle), func() { s.call(s.mayBeginAgain) })
		return
	}
	s.again = false
	s.beside(func() { s.call(func() { s.begin(RestartOptions{}) }) })
}

// restartBySignal begins a restart unless the same signal, sent to hupt and to
// several processes of the program at once (killall), has begun one already.
// sender is a pid, or 0 if it is not known.
func (s *Supervisor) restartBySignal(sender int) {
	if s.member != nil { // a restart is of the whole pool
		pool := s.member.pool
		go pool.call(func() { pool.hup(sender) })
		return
	}
	if s.hangups.again(sender, time.Now()) || s.aboutToLaunch() {
		return
	}
	err := s.begin(RestartOptions{})
	if errors.Is(err, ErrBusy) {
		// Whoever sent it put new code in place just now, and nobody waits for
		// an answer: do it as soon as it can be done.
		s.again = true
		follows := "another one follows"
		if _, first := err.(inTheWay); first {
			follows = "the restart follows"
		}
		err = fmt.Errorf("%w; %s", err, follows)
	}
	if err != nil {
		s.publish(Event{Kind: EventWarning, Reason: err.Error()})
	}
}
