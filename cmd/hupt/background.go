package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	ossignal "os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"hupt/stage2"
	"hupt/supervisor"
)

// `hupt run --background` starts itself once more, in a session of its own, and
// waits until that one says over a pipe that its program serves, or that it
// failed. Go can't fork, so the daemon can't be a copy of this process; but for
// the session, the descriptors 0 to 2 and the pipe it finds everything as this
// one did.

// The last line on the pipe says how it went; those before are what hupt tells.
const (
	saysUp   = "\x00up"
	saysExit = "\x00exit "
)

// background is the parent's part.
func (c *runCmd) background(std *streams, line commandLine) error {
	output, err := c.openLog()
	if err != nil {
		return err
	}
	defer output.Close()
	stdin := os.Stdin
	if info, err := stdin.Stat(); err != nil || !info.Mode().IsRegular() {
		// A terminal would be gone when it logs out; a file is the program's to read.
		if stdin, err = os.Open(os.DevNull); err != nil {
			return err
		}
		defer stdin.Close()
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// What was ignored stays so for the daemon: exec gives back only handlers.
	ignored := stage2.InheritedSignals().Ignored
	for n := syscall.Signal(1); n <= 64; n++ {
		if ignored&(1<<(n-1)) != 0 {
			ossignal.Ignore(n)
		}
	}
	// The pipe keeps its number, which is free in the program's table: 3 and
	// those behind it may be the program's (sd_listen_fds(3)).
	fd := int(w.Fd())
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		return err
	}
	// Its flags first, since the program's arguments come last.
	args := append([]string{"hupt", line[0], fmt.Sprintf("--background-fd=%d", fd), fmt.Sprintf("--background-pid=%d", os.Getpid())}, line[1:]...)
	child, err := os.StartProcess("/proc/self/exe", args, &os.ProcAttr{
		Env:   stage2.InheritedEnviron(),
		Files: []*os.File{stdin, output, output},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	w.Close()
	if err != nil {
		return err
	}
	// Who is impatient means the daemon.
	go func() {
		for sig := range supervisor.Early() {
			child.Signal(sig)
		}
	}()
	return c.awaitDaemon(std, child.Pid, r)
}

// awaitDaemon shows what the daemon tells until its program serves.
func (c *runCmd) awaitDaemon(std *streams, pid int, r io.Reader) error {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		text := lines.Text()
		switch code, failed := strings.CutPrefix(text, saysExit); {
		case text == saysUp:
			fmt.Fprintln(std.out, pid)
			return nil
		case failed:
			n, _ := strconv.Atoi(code)
			if n == 0 {
				return &codeError{code: n, err: errors.New("the program ended before it served")}
			}
			return &codeError{code: n}
		default:
			fmt.Fprintln(std.err, text)
		}
	}
	return errors.New("hupt ended in the background without a word")
}

// parent is the daemon's end of the pipe: a writer until the program serves.
type parent struct {
	mu   sync.Mutex
	pipe *os.File
}

func newParent(fd int) *parent {
	syscall.CloseOnExec(fd)
	return &parent{pipe: os.NewFile(uintptr(fd), "parent")}
}

func (p *parent) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pipe != nil {
		p.pipe.Write(b)
	}
	return len(b), nil
}

// last says how it went, once.
func (p *parent) last(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pipe != nil {
		fmt.Fprintln(p.pipe, word)
		p.pipe.Close()
		p.pipe = nil
	}
}

// daemon is the daemon's part: a run whose beginning the parent is told of.
func (c *runCmd) daemon(std *streams) error {
	// It was executed by the name "exe", and killall(1) is to find it.
	_ = os.WriteFile("/proc/self/comm", []byte("hupt"), 0)
	p := newParent(c.BackgroundFD)
	both := *std
	both.err = io.MultiWriter(std.err, p)
	code := fail(both.err, c.run(&both, func() { p.last(saysUp) }))
	p.last(saysExit + strconv.Itoa(code))
	return &codeError{code: code}
}
