package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal with what was shown on it.
type terminal struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex
	shown  bytes.Buffer
	ended  chan struct{} // closed when the command has; then code is its exit code
	code   int
}

// openTerminal runs a command as the leader of a session on a new terminal.
func openTerminal(t *testing.T, dir string, argv ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	term := &terminal{t: t, master: master, ended: make(chan struct{})}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Dir = dir
	mark := "tty-" + dir
	cmd.Env = append(os.Environ(), markName+"="+mark, "PS1=shell> ", "TERM=dumb")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		term.code = cmd.ProcessState.ExitCode()
		close(term.ended)
	}()
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			term.mu.Lock()
			term.shown.Write(b[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		left := marked(mark, 0, dir)
		endAll(left)
		select {
		case <-term.ended:
		case <-time.After(patience):
			t.Error("the terminal's command does not end")
		}
		master.Close()
		if t.Failed() {
			t.Logf("the terminal shows:\n%s", term.screen())
		}
	})
	return term
}

func (x *terminal) screen() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.ReplaceAll(x.shown.String(), "\r\n", "\n")
}

func (x *terminal) types(text string) {
	x.t.Helper()
	if _, err := x.master.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

// shows waits until text is on the terminal.
func (x *terminal) shows(text string) {
	x.t.Helper()
	await(x.t, fmt.Sprintf("the terminal shows %q", text), func() bool { return strings.Contains(x.screen(), text) })
}

// wasShown says how often text is on the terminal.
func (x *terminal) wasShown(text string) int { return strings.Count(x.screen(), text) }

// onTerminal is the command line of testdata/c/tty.c under hupt.
func onTerminal(t *testing.T, dir string) []string {
	return underHupt(t, "hupt", dir)
}

func underHupt(t *testing.T, hupt, dir string) []string {
	return []string{binary(t, hupt), "run", "--runtime-dir", dir + "/run", "--", binary(t, "tty")}
}

// TestTerminal: a terminal stays a terminal, with the program in its
// foreground, and Ctrl-C reaches it once although it reaches hupt, too.
func TestTerminal(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	testTerminal(t, openTerminal(t, dir, onTerminal(t, dir)...))
}

// TestTerminalSlow: the same where hupt hears of each of the program's signals long
// after its own.
func TestTerminalSlow(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	argv := append([]string{installed(t, "env"), "HUPT_FAULT=stop=150ms"}, underHupt(t, "hupt-fault", dir)...)
	testTerminal(t, openTerminal(t, dir, argv...))
}

func testTerminal(t *testing.T, x *terminal) {
	t.Helper()
	x.shows("terminals 111 foreground 1 ready")
	x.types("hello\n")
	x.shows("typed hello")
	if err := unix.IoctlSetWinsize(int(x.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 77}); err != nil {
		t.Fatal(err)
	}
	x.shows("resized 1 to 77x33")
	time.Sleep(600 * time.Millisecond)
	if x.wasShown("resized 2") > 0 {
		t.Error("one change of the window's size reached the program twice")
	}
	x.types("\x03")
	x.shows("interrupts")
	if x.wasShown("interrupts 1") != 1 {
		t.Error("one Ctrl-C did not reach the program exactly once")
	}
	select {
	case <-x.ended:
		if x.code != 11 {
			t.Errorf("hupt ends with %d, not 11 as the program", x.code)
		}
		if x.wasShown("the program ended") > 0 {
			t.Errorf("hupt says how the program ended that Ctrl-C was to end: %s", x.screen())
		}
	case <-time.After(patience):
		t.Error("hupt does not end with the program")
	}
}

// TestJobControl: from a shell, Ctrl-Z stops hupt and the program, and fg goes on
// with both.
func TestJobControl(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	x := openTerminal(t, dir, installed(t, "bash"), "--norc", "--noprofile", "-i")
	x.shows("shell>")
	x.types(strings.Join(onTerminal(t, dir), " ") + "\n")
	x.shows("terminals 111 foreground 1 ready")
	for n := 1; n <= 3; n++ {
		x.types("\x1a")
		await(t, "the shell says that the job was stopped", func() bool { return x.wasShown("Stopped") == n })
		x.types("fg\n")
		x.shows(fmt.Sprintf("continued %d foreground 1", n))
		x.types(fmt.Sprintf("line%d\n", n))
		x.shows(fmt.Sprintf("typed line%d", n))
	}
	x.types("quit\n")
	x.shows("typed quit")
	x.types("echo code=$?\n")
	x.shows("code=3")
}
