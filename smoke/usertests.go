package smoke

import (
	"context"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// startUserTests runs the user's own tests with the addresses in their
// environment. They end with ctx, and all that they started with them.
func (c *course) startUserTests(ctx context.Context) <-chan UserTests {
	ctx, cancel := context.WithTimeout(ctx, c.o.TestTimeout)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.o.UserTests)
	cmd.Dir = c.o.Dir
	cmd.Env = append(append(os.Environ(), c.o.Env...), c.addresses()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out := newTail(40)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	go out.read(r)
	done := make(chan UserTests, 1)
	c.watchers.Go(func() {
		defer cancel()
		began := time.Now()
		err := cmd.Run()
		w.Close()
		out.wait(time.Second)
		t := UserTests{Command: c.o.UserTests, Took: time.Since(began), Output: out.last(20)}
		switch {
		case ctx.Err() == context.DeadlineExceeded:
			t.Error = "not done within " + short(c.o.TestTimeout)
		case cmd.ProcessState == nil:
			t.Error = err.Error()
		default:
			t.ExitCode = exitCode(cmd.ProcessState)
		}
		done <- t
	})
	return done
}

// addresses tells the user's tests whom to ask.
func (c *course) addresses() []string {
	var all, first, url string
	for _, t := range c.m.Targets {
		if !t.Speaks.loaded() {
			continue
		}
		if all != "" {
			all += " "
		}
		all += t.Dial
		if first == "" {
			first = t.Dial
		}
		if url == "" && t.Network != "unix" {
			switch t.Speaks {
			case HTTP:
				url = "http://" + t.Dial + t.ask.path
			case HTTPS:
				url = "https://" + t.Dial + t.ask.path
			}
		}
	}
	return []string{"HUPT_SMOKE_URL=" + url, "HUPT_SMOKE_ADDRESS=" + first, "HUPT_SMOKE_ADDRESSES=" + all}
}
