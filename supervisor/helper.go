package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/tracer"
)

// helper is a command line of the user's, run by /bin/sh beside the program.
type helper struct {
	what    string // in front of what it prints: "before-start"
	command string
	env     []string // beside the program's
	program *program // whose environment and directory it gets
	limit   time.Duration
	quit    <-chan struct{} // ends it, too; may be nil
	quiet   bool            // what it prints is of no interest but for the last line
}

// errQuit is what run answers when nobody is interested any more.
var errQuit = errors.New("given up")

// run waits until the helper has ended. The error says how, with the last line
// that it printed: mostly that is the reason.
func (s *Supervisor) run(h helper) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	last := make(chan string, 1)
	s.beside(func() { s.relay(h, r, last) })
	ended := make(chan unix.WaitStatus, 1)
	env, as := h.program.env, (*syscall.Credential)(nil)
	if u := s.cfg.HookUser; u != nil {
		env, as = u.Environ(env), &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
		w.Chown(int(u.UID), int(u.GID)) // else it can't open /dev/stderr
	}
	kill, err := s.tracer.RunHelper(tracer.Helper{
		Argv: []string{"/bin/sh", "-c", h.command}, Output: w, Dir: h.program.dir,
		Env: append(env[:len(env):len(env)], h.env...), As: as,
	}, func(ws unix.WaitStatus) { ended <- ws })
	w.Close()
	switch {
	case err != nil && as != nil:
		return fmt.Errorf("could not be run by %s in %s: %w", s.cfg.HookUser, h.program.dir, err)
	case err != nil:
		return err
	}
	limit := time.NewTimer(h.limit)
	defer limit.Stop()
	var ws unix.WaitStatus
	select {
	case ws = <-ended:
	case <-limit.C:
		kill()
		<-ended
		return fmt.Errorf("was killed: it took more than %v", h.limit)
	case <-h.quit:
		kill()
		<-ended
		return errQuit
	}
	line := ""
	select {
	case line = <-last:
	case <-time.After(100 * time.Millisecond): // it left something running that has the pipe
	}
	switch how := exitOf(ws).Reason; {
	case ws == 0:
		return nil
	case line != "":
		return errors.New(how + ": " + line)
	default:
		return errors.New(how)
	}
}

// relay tells what a helper prints, line by line.
func (s *Supervisor) relay(h helper, r io.ReadCloser, last chan<- string) {
	defer r.Close()
	lines := bufio.NewReader(r)
	line := ""
	for {
		text, err := lines.ReadString('\n')
		if text = strings.TrimSpace(text); text != "" {
			line = text
			if !h.quiet {
				// Not by way of the loop, which has ended when the last hook runs.
				s.hub.publish(Event{Time: time.Now(), Kind: EventOutput, Source: h.what, Reason: text})
			}
		}
		if err != nil {
			last <- line
			return
		}
	}
}

// about is the environment of a helper that is about generation n.
func (s *Supervisor) about(n int, more ...string) []string {
	env := []string{"HUPT_PID=" + strconv.Itoa(os.Getpid()), "HUPT_NAME=" + s.cfg.Name, "HUPT_GENERATION=" + strconv.Itoa(n)}
	if s.member != nil {
		env = append(env, "HUPT_PROCESS="+strconv.Itoa(s.member.number))
	}
	if g := s.gens[n]; g != nil && g.main != 0 {
		env = append(env, "HUPT_PROGRAM_PID="+strconv.Itoa(g.main))
	}
	if old := s.gens[s.machine.Serving()]; old != nil && old.n != n {
		env = append(env, "HUPT_SERVING="+strconv.Itoa(old.n), "HUPT_SERVING_PID="+strconv.Itoa(old.main))
	}
	return append(env, more...)
}
