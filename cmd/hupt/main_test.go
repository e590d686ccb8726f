package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hupt/control"
	"hupt/doctor"
	"hupt/internal/machine"
	"hupt/stage2"
	"hupt/twin"
)

// The test binary is hupt, too: scripts call it by that name, and it calls
// itself for stage 2 and for the doctor.
func TestMain(m *testing.M) {
	if stage2.Requested() {
		stage2.Main()
	}
	if twin.Requested() {
		twin.Main()
	}
	if doctor.ProbeRequested() {
		doctor.ProbeMain()
	}
	if os.Getenv("FAKE") != "" {
		newInstance = newFakeInstance
	}
	testscript.Main(m, map[string]func(){"hupt": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			// Not in $WORK, whose name may be too long for a socket's.
			dir, err := os.MkdirTemp("/tmp", "hupt-cli-")
			env.Defer(func() { os.RemoveAll(dir) })
			env.Setenv(control.EnvDir, filepath.Join(dir, "run"))
			env.Setenv("DIR", dir)
			// With -race each process would sleep a second before it exits.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return err
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Getuid() == 0, nil
			}
			return false, errors.New("unknown condition")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"await": await,
		},
	})
}

// exits runs a command and wants this exit code: exits 3 hupt status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil || neg {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// await waits until so many instances answer in a directory, whose pids it
// puts into $PID1, $PID2…: await 2 [DIR].
func await(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	dir := ts.Getenv(control.EnvDir)
	if len(args) > 1 {
		dir = args[1]
	}
	for deadline := time.Now().Add(machine.Patience(10 * time.Second)); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		found, _ := control.Find(context.Background(), control.Dirs(dir, os.Getuid()))
		answering := 0
		for _, i := range found {
			if i.Err == nil {
				answering++
				ts.Setenv("PID"+strconv.Itoa(answering), strconv.Itoa(i.PID))
			}
		}
		if answering == want {
			return
		}
	}
	ts.Fatalf("%d instances did not come", want)
}
