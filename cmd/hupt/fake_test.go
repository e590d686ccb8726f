package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/supervisor"
)

// fakeInstance runs its program plainly and plays its restarts, as $FAKE says:
// "good", "bad", "early" (it dies in its probation), "busy", "stopping", "dies" (in the middle of a restart),
// "ptrace" or "seccomp" (which fail at once).
type fakeInstance struct {
	config  supervisor.Config
	cmd     *exec.Cmd
	started time.Time
	once    sync.Once
	ended   chan struct{}
	told    sync.WaitGroup
}

func newFakeInstance(c supervisor.Config) (instance, error) {
	switch os.Getenv("FAKE") {
	case "ptrace":
		return nil, fmt.Errorf("seize: %w", supervisor.ErrPtraceForbidden)
	case "seccomp":
		return nil, supervisor.ErrSeccompMissing
	}
	path, err := exec.LookPath(c.Command[0])
	if strings.Contains(c.Command[0], "/") {
		path = c.Command[0]
		_, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Command[0], supervisor.ErrNotFound)
	}
	if unix.Access(path, unix.X_OK) != nil {
		return nil, fmt.Errorf("%s: %w", c.Command[0], supervisor.ErrNotExecutable)
	}
	cmd := exec.Command(path, c.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A script that fails kills its hupt, and waits for whoever has its pipes.
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return &fakeInstance{config: c, cmd: cmd, started: time.Now(), ended: make(chan struct{})}, cmd.Start()
}

func (f *fakeInstance) Run() (int, error) {
	f.config.Report(supervisor.Event{Kind: supervisor.EventStarting, Generation: 1, PID: 4711})
	f.cmd.Wait()
	close(f.ended)
	f.told.Wait()
	status := f.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

func (f *fakeInstance) Restart(o supervisor.RestartOptions) (<-chan supervisor.Event, func(), error) {
	switch {
	case o.Validate() != nil:
		return nil, nil, o.Validate()
	case o.Rollback:
		return nil, nil, supervisor.ErrNoPrevious
	case o.Dir == "/nosuch":
		return nil, nil, errors.New("change to the working directory /nosuch: no such file or directory")
	case len(o.Command) > 0 && o.Command[0] == "nosuch":
		return nil, nil, fmt.Errorf("nosuch: %w", supervisor.ErrNotFound)
	case len(o.Command) > 0:
		f.config.Command = append(append(append([]string{o.Dir}, o.Env...), o.Unset...), o.Command...)
	}
	ok := []supervisor.Event{
		{Kind: supervisor.EventStarting, Generation: 2, PID: 4712},
		{Kind: supervisor.EventAdopted, Generation: 2, Address: "tcp 127.0.0.1:8080"},
		{Kind: supervisor.EventReady, Generation: 2, After: 0.31},
		{Kind: supervisor.EventServing, Generation: 2, After: 0.32},
		{Kind: supervisor.EventDraining, Generation: 1, Connections: 12},
		{Kind: supervisor.EventDrained, Generation: 1, After: 0.5},
		{Kind: supervisor.EventConfirmed, Generation: 2, After: 0.82},
		{Kind: supervisor.EventStopping, Generation: 1},
		{Kind: supervisor.EventGone, Generation: 1, After: 0.6},
	}
	bad := []supervisor.Event{
		ok[0],
		{Kind: supervisor.EventFailed, Generation: 2, After: 0.1, Reason: fmt.Sprintf("it exited with status 3 (time-out %v)\n\x1b[31m; generation 1 serves on", o.ReadyTimeout)},
		{Kind: supervisor.EventGone, Generation: 2},
	}
	early := slices.Clone(ok[:4])
	early = append(early, supervisor.Event{Kind: supervisor.EventResumed, Generation: 1, After: 0.4},
		supervisor.Event{Kind: supervisor.EventFailed, Generation: 2, After: 0.4, Reason: "it was killed by SIGSEGV after 0.39 s; generation 1 serves on"})
	switch os.Getenv("FAKE") {
	case "busy":
		return nil, nil, fmt.Errorf("%w: generation 3 is starting", supervisor.ErrBusy)
	case "stopping":
		return nil, nil, supervisor.ErrStopping
	case "dies":
		time.AfterFunc(50*time.Millisecond, func() { unix.Kill(os.Getpid(), unix.SIGKILL) })
		return make(chan supervisor.Event), func() {}, nil
	case "bad":
		return play(bad), func() {}, nil
	case "early":
		return play(early), func() {}, nil
	}
	return play(ok), func() {}, nil
}

// play tells events; they fit into the channel.
func play(events []supervisor.Event) <-chan supervisor.Event {
	told := make(chan supervisor.Event, len(events))
	for _, e := range events {
		told <- e
	}
	close(told)
	return told
}

func (f *fakeInstance) Stop() (<-chan supervisor.Event, func()) {
	told := make(chan supervisor.Event, 3)
	f.told.Add(1)
	go func() {
		defer f.told.Done()
		told <- supervisor.Event{Kind: supervisor.EventStopping, Generation: 1}
		f.cmd.Process.Signal(f.config.StopSignal)
		<-f.ended
		told <- supervisor.Event{Kind: supervisor.EventGone, Generation: 1}
		told <- supervisor.Event{Kind: supervisor.EventStopped, ExitCode: 143}
		close(told)
	}()
	return told, func() {}
}

func (f *fakeInstance) Status(bool) supervisor.Status {
	dir, _ := os.Getwd()
	path, _ := filepath.Abs(f.cmd.Path)
	return supervisor.Status{
		Version: f.config.Version, PID: os.Getpid(), Name: f.config.Name, Command: f.config.Command, Path: path, Dir: dir,
		Started: f.started, State: "running",
		Generations: []supervisor.GenerationStatus{{
			Number: 1, State: "serving", PID: f.cmd.Process.Pid, PIDs: []int{f.cmd.Process.Pid}, Started: f.started,
			Sockets: []supervisor.SocketStatus{{Network: "tcp4", Address: "127.0.0.1:8080", Backlog: 128}},
		}},
	}
}
