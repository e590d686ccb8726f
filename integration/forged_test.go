package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hupt/internal/machine"
)

// forged is somebody else's process that pretends to be an instance of hupt, in a
// /run of its own.
type forged struct {
	t   *testing.T
	run string // stands for /run
	out string // file with all that it was told
	pid int
}

// forge starts one as an ordinary user. It claims that name, program, and processes.
func forge(t *testing.T, name, path string, pids ...int) *forged {
	t.Helper()
	const uid = 65534
	dir := tempDir(t)
	f := &forged{t: t, run: filepath.Join(dir, "run"), out: filepath.Join(dir, "told")}
	home := filepath.Join(f.run, fmt.Sprintf("user/%d", uid))
	runtime := filepath.Join(home, "hupt")
	if err := os.MkdirAll(runtime, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{home, runtime} {
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	script := filepath.Join(dir, "forged.py")
	text, err := testdata.ReadFile("testdata/py/forged_instance.py")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, text, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(f.out)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(installed(t, "python3"), script, runtime, name, path)
	for _, pid := range pids {
		cmd.Args = append(cmd.Args, fmt.Sprint(pid))
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.pid = cmd.Process.Pid
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	await(t, "it listens", func() bool { return strings.Contains(f.told(), "forged") })
	return f
}

func (f *forged) told() string {
	b, _ := os.ReadFile(f.out)
	return string(b)
}

// hupt runs a command of root's that finds its instances where it always does.
func (f *forged) hupt(args ...string) (out string, code int) {
	f.t.Helper()
	script := fmt.Sprintf(`mount --bind %s /run && exec "$@"`, f.run)
	cmd := exec.Command(installed(f.t, "unshare"), append([]string{"--mount", "sh", "-c", script, "sh", commands(f.t)}, args...)...)
	cmd.Env = append(os.Environ(), "HUPT_RUNTIME_DIR=")
	b, _ := cmd.CombinedOutput()
	return string(b), cmd.ProcessState.ExitCode()
}

// TestForgedInstance: an ordinary user's process claims to be the instance that root
// means, by name, program, and processes. It gets no secret of root's, and what it
// answers is not taken for root's instance's; unless root says that it means that
// user's.
func TestForgedInstance(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	victim := exec.Command("sleep", "1000") // root's, under no hupt
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { victim.Process.Kill(); victim.Wait() })
	f := forge(t, "shop", "/bin/sleep", victim.Process.Pid, 1)
	const secret = "SECRET=of-root"
	for _, c := range []struct {
		target []string
		given  bool
	}{
		{[]string{"shop"}, false},
		{[]string{"/bin/sleep"}, false},
		{[]string{"sleep"}, false},
		{[]string{fmt.Sprint(victim.Process.Pid)}, false},
		{[]string{"1"}, false},
		{nil, false},
		{[]string{"shop", "--user", "65534"}, true},
		{[]string{fmt.Sprint(f.pid)}, true},
	} {
		before := strings.Count(f.told(), secret)
		for _, verb := range []string{"restart", "stop"} {
			args := append([]string{verb}, c.target...)
			if verb == "restart" {
				args = append(args, "--env", secret)
			} else if c.given {
				continue
			}
			out, code := f.hupt(args...)
			if !c.given && (code == 0 || !strings.Contains(out, "hupt: ") || strings.Contains(out, "confirmed")) {
				t.Errorf("%q: exit code %d\n%s", args, code, out)
			}
		}
		if given := strings.Count(f.told(), secret) > before; given != c.given {
			t.Errorf("%q: the secret was given to it: %v\n%s", c.target, given, f.told())
		}
	}
	if told := f.told(); strings.Contains(told, "/v1/stop") {
		t.Errorf("it was asked to stop:\n%s", told)
	}
	out, code := f.hupt("status")
	if code != 0 || !strings.Contains(out, "65534") {
		t.Errorf("status does not tell whose it is: exit code %d\n%s", code, out)
	}
}

// TestEndlessInstance: what another user's instance answers is read up to a bound.
func TestEndlessInstance(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	f := forge(t, "endless", "/bin/sleep")
	began := time.Now()
	out, code := f.hupt("status")
	if took := time.Since(began); took > machine.Patience(20*time.Second) || code == 0 || len(out) > 10_000 {
		t.Errorf("status: exit code %d after %v, %.2000s", code, took, out)
	}
}
