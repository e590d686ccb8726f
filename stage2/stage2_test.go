package stage2

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The test binary is stage 2, too.
func TestMain(m *testing.M) {
	if Requested() {
		Main()
	}
	os.Exit(m.Run())
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bit(sigs ...syscall.Signal) (mask uint64) {
	for _, s := range sigs {
		mask |= 1 << (s - 1)
	}
	return mask
}

// launch goes through stage 2 without a tracer, as the tracer does: the
// replies, and what the program printed.
func launch(t *testing.T, spec Spec) (replies []Reply, out string) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	try(t, err)
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	var printed bytes.Buffer
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{Arg0, "3"}, ExtraFiles: []*os.File{theirs}, Stdout: &printed, Stderr: &printed}
	try(t, cmd.Start())
	theirs.Close()
	begun := make([]byte, 1)
	if n, err := ours.Read(begun); n != 1 || begun[0] != Begun {
		t.Fatalf("it began with %q: %v", begun[:n], err)
	}
	try(t, gob.NewEncoder(ours).Encode(spec))
	for dec := gob.NewDecoder(ours); ; {
		var r Reply
		if dec.Decode(&r) != nil {
			break // execve, or the end, closed it
		}
		replies = append(replies, r)
	}
	cmd.Wait()
	return replies, printed.String()
}

const listFDs = "echo /proc/self/fd/*"

func TestProgramFindsAllAsItWas(t *testing.T) {
	dir := t.TempDir()
	status, err := os.ReadFile("/proc/thread-self/status")
	try(t, err)
	spec := Spec{
		Command:  []string{"sh", "-c", "pwd; echo $0 $1 $A $LISTEN_PID $WATCHDOG_PID $$; " + listFDs + "; exec cat /proc/self/status", "zero", "one"},
		Env:      []string{"PATH=/bin:/usr/bin", "A=b", "LISTEN_PID=4711", "WATCHDOG_PID=4712"},
		Dir:      dir,
		Launcher: 4711,
		Signals:  Signals{Ignored: bit(unix.SIGPIPE, unix.SIGTSTP, 64), Blocked: bit(unix.SIGTERM, 35)},
	}
	replies, out := launch(t, spec)
	lines := strings.Split(out, "\n")
	if len(replies) != 1 || len(lines) < 3 {
		t.Fatalf("%+v\n%s", replies, out)
	}
	want := Reply{Path: "/bin/sh", NoNewPrivs: field(out, "NoNewPrivs") == "1"}
	if replies[0] != want {
		t.Errorf("%+v", replies[0])
	}
	pid := field(out, "Pid")
	want2 := fmt.Sprintf("%s\nzero one b %s 4712 %s", dir, pid, pid)
	if got := strings.Join(lines[:2], "\n"); got != want2 {
		t.Errorf("got\n%s\nwant\n%s", got, want2)
	}
	bare, err := exec.Command("sh", "-c", listFDs).Output()
	try(t, err)
	if got := lines[2] + "\n"; got != string(bare) {
		t.Errorf("descriptors %s; bare: %s", got, bare)
	}
	for name, want := range map[string]string{
		"SigIgn": fmt.Sprintf("%016x", spec.Signals.Ignored),
		"SigBlk": fmt.Sprintf("%016x", spec.Signals.Blocked),
		"SigCgt": "0000000000000000",
		// It may be a filter more than the test's own surroundings have.
		"Seccomp": "2",
		"Groups":  field(string(status), "Groups"),
		"CapEff":  field(string(status), "CapEff"),
	} {
		if got := field(out, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// field is a line of /proc/PID/status.
func field(status, name string) string {
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// TestScriptWithoutInterpreter: execvp(3) gives it to the shell.
func TestScriptWithoutInterpreter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "script")
	try(t, os.WriteFile(path, []byte("echo $0 $1\n"), 0o755))
	if replies, out := launch(t, Spec{Command: []string{path, "x"}, Dir: dir}); out != path+" x\n" || len(replies) != 1 {
		t.Errorf("%q, %+v", out, replies)
	}
}

func TestWhatFails(t *testing.T) {
	tree(t, map[string]os.FileMode{"text": 0o644, "sub": 0, "lost": 0o755})
	dir, err := os.Getwd()
	try(t, err)
	try(t, os.WriteFile("lost", []byte("#!/nosuch/interpreter\n"), 0o755))
	for _, c := range []struct {
		command, dir string
		want         Reply // of the last reply
		replies      int
	}{
		{"true", dir + "/nosuch", Reply{Step: "chdir", Path: dir + "/nosuch", Errno: int(unix.ENOENT)}, 1},
		{"nosuch", dir, Reply{Step: "lookup", Path: "nosuch", Errno: int(unix.ENOENT)}, 1},
		{"./text", dir, Reply{Step: "lookup", Path: "./text", Errno: int(unix.EACCES)}, 1},
		{"./sub", dir, Reply{Step: "lookup", Path: "./sub", Errno: int(unix.EACCES)}, 1},
		{"./lost", dir, Reply{Step: "execve", Path: "./lost", Errno: int(unix.ENOENT)}, 2},
	} {
		replies, _ := launch(t, Spec{Command: []string{c.command}, Dir: c.dir})
		if len(replies) != c.replies {
			t.Errorf("%s: %+v", c.command, replies)
			continue
		}
		got := replies[len(replies)-1]
		if got.Message == "" {
			t.Errorf("%s: no message", c.command)
		}
		got.Message = ""
		if got != c.want {
			t.Errorf("%s: %+v", c.command, got)
		}
	}
}

// TestNobodyToTell: a stage 2 whose hupt has gone ends.
func TestNobodyToTell(t *testing.T) {
	for _, args := range [][]string{{Arg0, "x"}, {Arg0, "3"}} {
		null, err := os.Open(os.DevNull)
		try(t, err)
		cmd := &exec.Cmd{Path: "/proc/self/exe", Args: args, ExtraFiles: []*os.File{null}}
		cmd.Run()
		null.Close()
		if code := cmd.ProcessState.ExitCode(); code != 125 {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

// TestInheritedSignals starts a program with signals ignored and blocked.
func TestInheritedSignals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signals")
	build := exec.Command("go", "build", "-o", path, "./testdata/signals")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	inherited := Signals{Ignored: ignoredNow(), Blocked: blockedNow(t)}
	for _, c := range []struct{ ignored, blocked []syscall.Signal }{
		{nil, nil},
		{[]syscall.Signal{unix.SIGPIPE}, []syscall.Signal{unix.SIGTERM}},
		{[]syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGUSR1, 37}, []syscall.Signal{unix.SIGCHLD, unix.SIGHUP, 64}},
	} {
		got := startedWith(t, path, c.ignored, c.blocked)
		want := Signals{Ignored: inherited.Ignored | bit(c.ignored...), Blocked: inherited.Blocked | bit(c.blocked...)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v %v: %s", c.ignored, c.blocked, diff)
		}
	}
}

// startedWith is what a program says that is started with these. A child has
// the mask of the thread that forks, and a shell hands both on.
func startedWith(t *testing.T, path string, ignored, blocked []syscall.Signal) (s Signals) {
	t.Helper()
	script := "exec " + path
	for _, sig := range ignored {
		script = fmt.Sprintf("trap '' %d; %s", sig, script)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var mask, before unix.Sigset_t
	mask.Val[0] = bit(blocked...)
	try(t, unix.PthreadSigmask(unix.SIG_BLOCK, &mask, &before))
	cmd := exec.Command("sh", "-c", script)
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Start()
	try(t, unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil))
	try(t, err)
	try(t, cmd.Wait())
	try(t, json.Unmarshal(out.Bytes(), &s))
	return s
}

func blockedNow(t *testing.T) uint64 {
	b, err := os.ReadFile("/proc/thread-self/status")
	try(t, err)
	n, err := strconv.ParseUint(field(string(b), "SigBlk"), 16, 64)
	try(t, err)
	return n
}
