package supervisor

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/tracer"
)

// sd_notify(3) has two ends here. Towards systemd, hupt is the service: it is
// ready when its program first serves, and reloads when it restarts that.
// Towards the program hupt is systemd: what the program says is heard by hupt,
// and passed on as far as it is true of the service. systemd listens to the
// main process only (NotifyAccess=main), which is hupt.

// systemd is the end towards it.
type systemd struct {
	upstream string // NOTIFY_SOCKET; empty: nobody listens
	mute     bool   // a pool says it for all of its members
	ready    bool   // READY=1 was said
	up       func() // called with the first READY=1; nil: nobody wants to know
	reloads  bool   // RELOADING=1 was said, and READY=1 not yet again
}

// say sends assignments. That nobody hears them is no reason to fail.
func (d *systemd) say(state ...string) {
	if d.upstream == "" || d.mute {
		return
	}
	for n := range state {
		state[n] = oneAssignment(state[n])
	}
	daemon.SdNotify(false, strings.Join(state, "\n"))
}

// oneAssignment takes out what would begin another one: a reason has names in it
// that a program chose, the path of a socket for one.
func oneAssignment(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
}

// served: the program serves for the first time, or never will.
func (d *systemd) served() {
	if !d.ready {
		d.ready = true
		if d.up != nil {
			d.up()
		}
		d.say(daemon.SdNotifyReady, fmt.Sprintf("MAINPID=%d", os.Getpid()))
	}
}

// reloading: a restart begins. Type=notify-reload wants the time.
func (d *systemd) reloading() {
	if !d.ready {
		return
	}
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	d.reloads = true
	d.say(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", ts.Nano()/1000))
}

// reloaded: the restart was decided, one way or the other.
func (d *systemd) reloaded(status string) {
	if d.reloads {
		d.reloads = false
		d.say(daemon.SdNotifyReady, "STATUS="+status)
	}
}

// tellSystemd tells what happened.
func (s *Supervisor) tellSystemd(e Event) {
	switch e.Kind {
	case EventServing:
		s.systemd.served()
	case EventConfirmed:
		s.systemd.reloaded(fmt.Sprintf("generation %d serves", e.Generation))
	case EventFailed:
		s.systemd.reloaded(fmt.Sprintf("generation %d failed: %s", e.Generation, e.Reason))
	case EventStopping:
		if s.machine.State() == "stopping" {
			s.systemd.say(daemon.SdNotifyStopping)
		}
	}
}

// neverServes: a program that listens on nothing is as ready as it will be.
func (s *Supervisor) neverServes(g *gen) {
	time.AfterFunc(s.cfg.ReadyTimeout, func() {
		s.call(func() {
			if s.gens[g.n] == g && s.cfg.Ready.Kind != ReadyNotify {
				s.systemd.served()
			}
		})
	})
}

// hangNotify gives generation g a NOTIFY_SOCKET of its own, if it would have
// one without hupt, or is to say when it is ready. The name is an abstract one:
// a server that has left root behind could not reach a path in hupt's folder.
func (s *Supervisor) hangNotify(g *gen) (env []string, err error) {
	if s.systemd.upstream == "" && s.cfg.Ready.Kind != ReadyNotify {
		return g.program.env, nil
	}
	name := fmt.Sprintf("@hupt/%d/%d/%s", os.Getpid(), g.n, rand.Text())
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	g.notify = conn
	s.beside(func() { s.hear(g) })
	return (&program{env: g.program.env}).changed(RestartOptions{Env: []string{"NOTIFY_SOCKET=" + name}}).env, nil
}

// hear takes what generation g says until its socket is closed.
func (s *Supervisor) hear(g *gen) {
	text, control := make([]byte, 8192), make([]byte, 4096)
	var rate rate
	for {
		n, nc, _, _, err := g.notify.ReadMsgUnix(text, control)
		if err != nil {
			return
		}
		// What others send goes at once, lest the program wait behind it: the queue
		// is short.
		if from := sender(control[:nc]); from == nil || !mayTell(int(g.speaker.Load()), from) {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text[:n])), "\n")
		s.call(func() { s.heard(g, lines) })
		// Who sends more waits, as with a service manager that is busy.
		time.Sleep(rate.pause(time.Now()))
	}
}

func (g *gen) setMain(pid int) {
	g.main = pid
	g.speaker.Store(int64(pid))
}

// notifyRate is how many messages of a program are taken in a second.
const notifyRate = 100

// rate bounds how often something is done.
type rate struct {
	since time.Time
	n     int
}

// pause is how long to wait before it is done once more.
func (r *rate) pause(now time.Time) time.Duration {
	if now.Sub(r.since) >= time.Second {
		r.since, r.n = now, 0
	}
	if r.n++; r.n <= notifyRate {
		return 0
	}
	return time.Second - now.Sub(r.since)
}

// sender is who sent a message, by the kernel's word. Descriptors that came
// along are closed: a barrier (sd_notify_barrier(3)) waits for just that, and
// a store of descriptors is not kept here.
func sender(control []byte) (from *unix.Ucred) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if c, err := unix.ParseUnixCredentials(&m); err == nil {
			from = c
		}
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			for _, fd := range fds {
				tracer.CloseForeign(fd)
			}
		}
	}
	return from
}

// mayTell: the main process of a generation, or a process of its user, root's
// or hupt's: one that could end it as well. Such a one may have ended meanwhile
// (systemd-notify(1) in a script). Anybody can send to an abstract name, and a
// worker that has left root behind does not speak for its master.
func mayTell(main int, from *unix.Ucred) bool {
	if from.Uid == 0 || int(from.Uid) == os.Getuid() || int(from.Pid) == main {
		return true
	}
	var st unix.Stat_t
	return unix.Stat(fmt.Sprintf("/proc/%d", main), &st) == nil && st.Uid == from.Uid
}

// heard: generation g said something.
func (s *Supervisor) heard(g *gen, lines []string) {
	serves := s.machine.Serving() == g.n || s.machine.Serving() == 0
	var pass []string
	for _, line := range lines {
		name, _, _ := strings.Cut(line, "=")
		switch name {
		case "READY":
			if line == daemon.SdNotifyReady {
				// The end of a reload that is the program's own business.
				if serves && s.systemd.ready && !s.systemd.reloads {
					pass = append(pass, line)
				}
				s.step(generation.Told{N: g.n})
			}
		case "STATUS", "ERRNO", "BUSERROR", "VARLINKERROR", "EXTEND_TIMEOUT_USEC", "RELOADING", "MONOTONIC_USEC":
			pass = append(pass, line)
		case "WATCHDOG":
			if line == "WATCHDOG=1" { // WATCHDOG=trigger would end hupt
				pass = append(pass, line)
			}
		default:
			if strings.HasPrefix(name, "X_") { // nobody's meaning but the sender's
				pass = append(pass, line)
			}
			// The service is hupt, which goes on: its main pid, its descriptors, its
			// watchdog's time and its end are not the program's to tell.
		}
	}
	if serves && len(pass) > 0 {
		s.systemd.say(pass...)
	}
}
