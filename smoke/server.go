package smoke

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"hupt/control"
	"hupt/supervisor"
)

// server is the one under test, under a hupt of its own.
type server struct {
	id     string // of marker
	dir    string // runtime directory
	pid    int    // of hupt
	output *tail
	gone   chan struct{} // closed when hupt has ended
	code   int           // hupt's exit code, which is the program's; once gone
	stdin  io.Closer

	inst *control.Instance
}

// launch starts hupt run with the server.
func launch(o *Options, command []string, dir string) (*server, error) {
	s := &server{id: rand.Text(), dir: dir, gone: make(chan struct{}), output: newTail(60)}
	args := []string{"run", "--runtime-dir", dir, "--name", "smoke",
		"--ready-timeout", o.ReadyTimeout.String(), "--kill-after", o.StopTimeout.String()}
	if o.DrainTimeout < 0 {
		args = append(args, "--drain-timeout", "never")
	} else {
		args = append(args, "--drain-timeout", o.DrainTimeout.String())
	}
	args = append(args, o.HuptFlags...)
	args = append(args, "--")
	cmd := exec.Command(o.Hupt, append(args, command...)...)
	cmd.Dir = o.Dir
	cmd.Env = append(append(os.Environ(), o.Env...), marker+"="+s.id)
	// A pipe that is never written to: a program that ends with its standard
	// input goes on, and one that waits for something in it can be told.
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = in
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	// Its own process group: Ctrl-C is for us, who stop it in order. If we
	// are killed it must not stay; TERM has hupt end the server as well.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		// Pdeathsig comes when the thread ends that forked, not the process.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // its exit status tells
		s.code = exitCode(cmd.ProcessState)
		close(s.gone)
	}()
	err = <-started
	w.Close()
	if err != nil {
		out.Close()
		in.Close()
		return nil, usage("can't start hupt: %v", err)
	}
	s.pid = cmd.Process.Pid
	go s.output.read(out)
	return s, nil
}

func exitCode(ps *os.ProcessState) int {
	if ws, ok := ps.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ps.ExitCode()
}

// ended says whether hupt, and so the server, has ended.
func (s *server) ended() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

// connect finds the control socket, once.
func (s *server) connect(ctx context.Context) bool {
	if s.inst != nil {
		return true
	}
	found, err := control.Find(ctx, control.Dirs(s.dir, os.Getuid()))
	if err != nil {
		return false
	}
	for i := range found {
		if found[i].PID == s.pid && found[i].Err == nil {
			s.inst = &found[i]
			return true
		}
	}
	return false
}

// status asks hupt how it is.
func (s *server) status(ctx context.Context) (supervisor.Status, error) {
	one := *s.inst // Refresh writes to it, and several ask at once
	err := one.Refresh(ctx)
	return one.Status, err
}

// serving returns the generation that serves.
func serving(st supervisor.Status) (supervisor.GenerationStatus, bool) {
	for _, g := range st.Generations {
		if g.State == "serving" {
			return g, true
		}
	}
	return supervisor.GenerationStatus{}, false
}

// end makes sure that nothing of the server is left, whatever happened, and
// returns who was still there when hupt was gone.
func (s *server) end(patience time.Duration) []Process {
	defer os.RemoveAll(s.dir)
	defer s.stdin.Close()
	if !s.ended() {
		_ = syscall.Kill(s.pid, syscall.SIGTERM) // our child, not yet waited for: the pid is its own
		select {
		case <-s.gone:
		case <-time.After(patience):
			_ = syscall.Kill(s.pid, syscall.SIGKILL)
			<-s.gone
		}
	}
	// What was killed a moment ago may take one to vanish.
	left := marked(s.id)
	for end := time.Now().Add(500 * time.Millisecond); len(left) > 0 && time.Now().Before(end); left = marked(s.id) {
		time.Sleep(50 * time.Millisecond)
	}
	for _, p := range left {
		p.kill()
	}
	s.output.wait(100 * time.Millisecond)
	return left
}

// tail keeps the last lines that a server wrote, and always reads on: a server
// must not stand still because nobody reads what it says.
type tail struct {
	mu    sync.Mutex
	lines []string
	max   int
	done  chan struct{}
}

func newTail(max int) *tail { return &tail{max: max, done: make(chan struct{})} }

func (t *tail) read(r io.ReadCloser) {
	defer close(t.done)
	defer r.Close()
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		line, more, err := br.ReadLine()
		for more && err == nil {
			_, more, err = br.ReadLine() // the rest of a line without end
		}
		if err != nil {
			return
		}
		t.mu.Lock()
		if len(t.lines) >= t.max {
			t.lines = append(t.lines[:0], t.lines[1:]...)
		}
		t.lines = append(t.lines, clip(printable(strings.ToValidUTF8(string(line), "·")), 500))
		t.mu.Unlock()
	}
}

func (t *tail) wait(d time.Duration) {
	select {
	case <-t.done:
	case <-time.After(d):
	}
}

func (t *tail) last(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines[max(0, len(t.lines)-n):]...)
}

// hupts are the exit codes of hupt run that are not the program's.
var hupts = map[int]struct {
	outcome Outcome
	reason  string
}{
	2:   {WrongUsage, "hupt run refused its flags"},
	120: {Forbidden, "ptrace is forbidden here; see: hupt doctor"},
	121: {Forbidden, "seccomp filters are not available here; see: hupt doctor"},
	125: {Failed, "hupt itself failed"},
	126: {WrongUsage, "the command is not executable"},
	127: {WrongUsage, "the command was not found"},
}

// usual is what hupt tells of every start and end, and what is no reason for one.
var usual = regexp.MustCompile(`^warning: |^(starting|stopping) generation|^generation \d+ (serves|is gone)|^the program ended: [^;]*$`)

// how tells why hupt run ended before anything was asked of it. hupt's codes
// count only if it said so itself: a program may exit with them too.
func (s *server) how() (Outcome, string) {
	said := ""
	for _, line := range s.output.last(60) {
		if rest, ok := strings.CutPrefix(line, "hupt: "); ok && !usual.MatchString(rest) {
			said = rest
		}
	}
	if h, ok := hupts[s.code]; ok && said != "" && !strings.HasPrefix(said, "the program ended") {
		if h.outcome == Failed {
			return Died, said
		}
		return h.outcome, said
	}
	if said == "" {
		return Died, ended(s.code)
	}
	if _, call, ok := strings.Cut(said, "; its last failed call: "); ok && strings.HasPrefix(said, "the program ended") {
		return Died, ended(s.code) + "; its last failed call: " + call
	}
	return Died, fmt.Sprintf("%s; hupt says: %s", ended(s.code), said)
}

// ended tells how a process ended, as a sentence's beginning.
func ended(code int) string {
	if code > 128 && code <= 128+64 {
		return "it died of " + signalName(code-128)
	}
	return fmt.Sprintf("it exited with code %d", code)
}

// errEnded is what the steps of a run return when the server ended meanwhile.
var errEnded = errors.New("the server ended")
