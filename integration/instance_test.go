package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/control"
	"hupt/internal/machine"
	"hupt/supervisor"
)

// instance is a program that a test runs, under hupt or bare.
type instance struct {
	t       testing.TB
	cmd     *exec.Cmd
	pid     int // of hupt; of the program, if bare
	mark    string
	dir     string // the site's: whoever runs in it is ours
	runtime string
	output  string        // file with stdout and stderr
	ended   chan struct{} // closed when the command was waited for
	uid     int           // whose hupt is
	orphans bool          // the program is expected to outlive hupt
	heirs   []int         // what were hupt's children when it was killed: ours now
}

// launch says how to start an instance.
type launch struct {
	flags  []string // of hupt run
	bare   bool
	argv   []string
	dir    string // working directory; default the site's
	env    []string
	before []string // a command that executes the rest
	stdin  *os.File
	stdout *os.File // default: the output file
	stderr string   // the same, by name
	attr   *syscall.SysProcAttr

	inherit []*os.File // as descriptors 3 and up
	faults  string     // that hupt is to have: see package fault

	hupt string // the file that is run as hupt; default: the one that was built
	uid  int    // whom hupt is to become, by its flags; default: nobody else
}

// start runs a site's server under hupt and waits until it serves.
func start(s *site, flags ...string) *instance {
	s.t.Helper()
	i := launchAt(s.t, s.dir, launch{flags: flags, argv: s.argv(), env: s.env()})
	s.awaitAnswer()
	return i
}

// launchAt starts an instance whose files are in dir.
func launchAt(t testing.TB, dir string, l launch) *instance {
	t.Helper()
	i := &instance{t: t, dir: dir, mark: fmt.Sprintf("%d-%08x", os.Getpid(), rand.Uint32()),
		runtime: filepath.Join(dir, "run"), output: filepath.Join(dir, "output"), ended: make(chan struct{}), uid: os.Getuid()}
	if l.uid != 0 {
		i.uid = l.uid
		i.ownRuntime()
	}
	argv := l.argv
	if !l.bare {
		name := "hupt"
		if l.faults == "" {
			l.faults = os.Getenv("HUPT_DELAYS") // make delays
		}
		if l.faults != "" {
			name, l.env = "hupt-fault", append(l.env, "HUPT_FAULT="+l.faults)
		}
		if l.hupt == "" {
			l.hupt = binary(t, name)
		}
		argv = append([]string{l.hupt, "run", "--runtime-dir", i.runtime}, l.flags...)
		argv = append(append(argv, "--"), l.argv...)
	}
	argv = append(l.before, argv...)
	i.cmd = exec.Command(argv[0], argv[1:]...)
	i.cmd.Dir = dir
	if l.dir != "" {
		i.cmd.Dir = l.dir
	}
	i.cmd.Env = append(append(os.Environ(), markName+"="+i.mark), l.env...)
	out, err := os.OpenFile(i.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	i.cmd.Stdin, i.cmd.Stdout, i.cmd.Stderr = os.Stdin, out, out
	if i.cmd.Stdin = nil; l.stdin != nil {
		i.cmd.Stdin = l.stdin
	}
	if l.stdout != nil {
		i.cmd.Stdout = l.stdout
	}
	if l.stderr != "" {
		f, err := os.OpenFile(l.stderr, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		i.cmd.Stderr = f
	}
	i.cmd.ExtraFiles = l.inherit
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if l.attr != nil {
		i.cmd.SysProcAttr = l.attr
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatalf("start %q: %v", argv, err)
	}
	i.pid = i.cmd.Process.Pid
	go func() {
		i.cmd.Wait()
		charge(t.Name(), i.cmd)
		close(i.ended)
	}()
	t.Cleanup(i.cleanup)
	return i
}

// ownRuntime makes the directory in which hupt, as another user, puts its socket.
func (i *instance) ownRuntime() {
	i.t.Helper()
	err := os.Mkdir(i.runtime, 0o700)
	if err == nil || os.IsExist(err) {
		err = os.Chown(i.runtime, i.uid, i.uid)
	}
	if err != nil {
		i.t.Fatal(err)
	}
}

// cleanup ends the instance and fails the test if anything of it is left.
func (i *instance) cleanup() {
	i.t.Helper()
	i.signal(unix.SIGTERM)
	if !i.waitEnd(patience / 2) {
		i.t.Errorf("%s does not end on SIGTERM", describe(i.pid))
	}
	if left := i.left(); len(left) > 0 {
		for _, pid := range left {
			if !i.orphans {
				i.t.Errorf("left over: %s", describe(pid))
			}
		}
		endAll(left)
		i.waitEnd(patience)
	}
	for _, pid := range i.heirs {
		reap(pid)
	}
	if i.t.Failed() {
		i.t.Logf("%s", i.tail())
	}
}

// left returns the processes of the instance that run, after a moment for
// those that are just ending: none has to, of those that outlive hupt.
func (i *instance) left() []int {
	for end := time.Now().Add(machine.Patience(time.Second)); ; time.Sleep(25 * time.Millisecond) {
		pids := marked(i.mark, i.pid, i.dir)
		if len(pids) == 0 || i.orphans || time.Now().After(end) {
			return pids
		}
	}
}

// programs returns the processes of the instance other than hupt's own: hupt
// itself and its doorbell, which execute the same file.
func (i *instance) programs() (pids []int) {
	own, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", i.pid))
	for _, pid := range marked(i.mark, i.pid, i.dir) {
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); exe != own {
			pids = append(pids, pid)
		}
	}
	return pids
}

// signal sends a signal to the instance's first process, if it has not ended.
func (i *instance) signal(s syscall.Signal) {
	select {
	case <-i.ended:
	default:
		i.cmd.Process.Signal(s)
	}
}

// waitEnd waits for the instance's first process to end.
func (i *instance) waitEnd(d time.Duration) bool {
	select {
	case <-i.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// exitCode waits for the end and returns what a shell would.
func (i *instance) exitCode() int {
	i.t.Helper()
	if !i.waitEnd(patience) {
		i.t.Fatalf("%s does not end", describe(i.pid))
	}
	ws := i.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// tail returns the last of what the instance printed.
func (i *instance) tail() string {
	b, _ := os.ReadFile(i.output)
	if len(b) > 6000 {
		b = append([]byte("… "), b[len(b)-6000:]...)
	}
	return fmt.Sprintf("output of %.200s:\n%s", strings.Join(i.cmd.Args, " "), bytes.TrimSpace(b))
}

// hupt runs a subcommand on the instance and returns what it printed, both
// streams, and its exit code.
func (i *instance) hupt(verb string, args ...string) (output string, code int) {
	i.t.Helper()
	return i.huptWithin(4*patience, verb, args...)
}

func (i *instance) huptWithin(d time.Duration, verb string, args ...string) (output string, code int) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	target := []string{fmt.Sprint(i.pid)}
	if verb == "scale" { // its target comes last
		target, args = args, target
	}
	if i.uid != os.Getuid() {
		target = append([]string{"--user", fmt.Sprint(i.uid)}, target...)
	}
	args = append(append([]string{verb, "--runtime-dir", i.runtime}, target...), args...)
	cmd := exec.CommandContext(ctx, commands(i.t), args...)
	out, err := cmd.CombinedOutput()
	charge(i.t.Name(), cmd)
	if ctx.Err() != nil {
		i.t.Fatalf("hupt %s did not return within %v; it printed\n%s", strings.Join(args, " "), d, out)
	}
	if cmd.ProcessState == nil {
		i.t.Fatalf("hupt %s: %v", verb, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// restart restarts and fails the test if that does not succeed.
func (i *instance) restart(args ...string) {
	i.t.Helper()
	if out, code := i.hupt("restart", args...); code != 0 {
		i.t.Fatalf("hupt restart: exit code %d\n%s\n%s", code, out, i.tail())
	}
}

// restartEvents restarts and returns what hupt restart told until it was done.
func (i *instance) restartEvents(args ...string) (events []supervisor.Event) {
	i.t.Helper()
	out, code := i.hupt("restart", append([]string{"--json"}, args...)...)
	if code != 0 {
		i.t.Fatalf("hupt restart: exit code %d\n%s\n%s", code, out, i.tail())
	}
	for line := range strings.Lines(out) {
		var e supervisor.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			i.t.Fatalf("hupt restart --json: %v in %s", err, line)
		}
		events = append(events, e)
	}
	return events
}

// status asks for the instance's status as hupt status does, but from here: it is
// asked for so often that the start of a process for each would be most of what
// many tests do. What the command makes of it is looked at elsewhere.
func (i *instance) status() supervisor.Status {
	i.t.Helper()
	// A client waits for some seconds only, which suit a usual machine.
	for end := time.Now().Add(machine.Patience(time.Second)); ; {
		status, err := i.look()
		if err == nil {
			return status
		}
		if !errors.Is(err, control.ErrNoAnswer) || time.Now().After(end) {
			i.t.Fatalf("status: %v\n%s", err, i.tail())
		}
	}
}

// look is status where the instance may not answer yet.
func (i *instance) look() (supervisor.Status, error) {
	found, err := control.Find(context.Background(), control.Dirs(i.runtime, i.uid))
	if err != nil {
		return supervisor.Status{}, err
	}
	one, err := control.Pick(found, fmt.Sprint(i.pid), i.uid)
	if err != nil {
		return supervisor.Status{}, err
	}
	return one.Status, nil
}

func parseStatus(out string) (s supervisor.Status, err error) {
	out = strings.TrimSpace(out)
	if !strings.HasPrefix(out, "[") {
		out = "[" + out + "]"
	}
	var all []supervisor.Status
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return s, fmt.Errorf("hupt status --json: %w in\n%s", err, out)
	}
	if len(all) != 1 {
		return s, fmt.Errorf("hupt status --json tells of %d instances, not 1:\n%s", len(all), out)
	}
	return all[0], nil
}

// serving returns the generation that serves.
func (i *instance) serving() supervisor.GenerationStatus {
	i.t.Helper()
	s := i.status()
	for _, g := range s.Generations {
		if g.State == "serving" {
			return g
		}
	}
	i.t.Fatalf("no generation serves: %+v", s.Generations)
	return supervisor.GenerationStatus{}
}

// await polls until cond holds, and fails the test if it does not in time.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	// Many conditions run hupt, which would keep a processor busy.
	pause := 15 * time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pause) {
		if cond() {
			return
		}
		pause = min(pause*3/2, 100*time.Millisecond)
	}
	t.Fatalf("not within %v: %s", patience, what)
}
