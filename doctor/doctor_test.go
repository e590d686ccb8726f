package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hupt/stage2"
	"hupt/twin"
)

func TestMain(m *testing.M) {
	if stage2.Requested() {
		stage2.Main()
	}
	if twin.Requested() {
		twin.Main()
	}
	if ProbeRequested() {
		ProbeMain()
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // the child need not sleep before it exits
	os.Exit(m.Run())
}

// TestProbe runs the real thing. Where ptrace is forbidden it must say so, not
// hang.
func TestProbe(t *testing.T) {
	p := tryProbe()
	if p.start != nil {
		t.Fatal(p.start)
	}
	if p.seize != nil || p.trace != nil || p.getfd != nil || p.child.Filter != "" {
		t.Skipf("not everything is allowed here: %+v", p)
	}
	if !p.sawSeccomp {
		t.Error("the filter's stop was not seen")
	}
	if _, err := unix.Wait4(-1, nil, unix.WALL|unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left over: %v", err)
	}
}

func TestExamine(t *testing.T) {
	checks := Examine(filepath.Join(t.TempDir(), "run"))
	seen := map[string]bool{}
	for _, c := range checks {
		if c.Name == "" || c.Found == "" || c.Means == "" || seen[c.Name] {
			t.Errorf("incomplete or twice: %+v", c)
		}
		if c.State == Fail && c.Do == "" {
			t.Errorf("%s failed and does not say what to do", c.Name)
		}
		seen[c.Name] = true
	}
	if len(checks) < 13 {
		t.Errorf("%d checks", len(checks))
	}
}

// judge compares a check's state and looks for words in all it says.
func judge(t *testing.T, c Check, state State, words string) {
	t.Helper()
	if all := c.Found + "\n" + c.Means + "\n" + c.Do; c.State != state || !strings.Contains(all, words) {
		t.Errorf("%s: got %s, %q; want %s with %q", c.Name, c.State, all, state, words)
	}
}

func TestKernelRelease(t *testing.T) {
	for release, state := range map[string]State{
		"6.18.44-fc": OK, "5.11.0": OK, "5.10.200": Fail, "4.18.0-553.el8": Fail, "10.0": OK, "strange": Warn,
	} {
		judge(t, kernelRelease(release), state, "")
	}
}

func TestYama(t *testing.T) {
	none, trace := capSet{}, capSet{effective: 1 << unix.CAP_SYS_PTRACE}
	judge(t, yama(-1, none), OK, "not there")
	judge(t, yama(0, none), OK, "")
	judge(t, yama(1, none), OK, "descendants")
	judge(t, yama(2, none), Fail, "ptrace_scope=1")
	judge(t, yama(2, trace), OK, "CAP_SYS_PTRACE")
	judge(t, yama(3, trace), Fail, "reboot")
}

func TestProbeVerdicts(t *testing.T) {
	good := probe{sawSeccomp: true}
	judge(t, seccomp(good), OK, "loads")
	judge(t, ptrace(good), OK, "SEIZE")
	judge(t, pidfdGetfd(good), OK, "works")
	judge(t, noNewPrivs(good, capSet{}), OK, "not needed")
	judge(t, seccomp(probe{}), Fail, "does not stop")
	judge(t, seccomp(probe{child: childReport{Filter: "seccomp: invalid argument"}}), Fail, "invalid argument")
	judge(t, ptrace(probe{seize: unix.EPERM}), Fail, "SYS_PTRACE")
	judge(t, ptrace(probe{trace: errors.New("odd")}), Fail, "odd")
	judge(t, pidfdGetfd(probe{getfd: unix.EPERM}), Fail, "--cap-add SYS_PTRACE")
	judge(t, pidfdGetfd(probe{getfd: os.NewSyscallError("pidfd_getfd", unix.ENOSYS)}), Fail, "5.6")
	judge(t, noNewPrivs(probe{child: childReport{NeedsNoNewPrivs: true}}, capSet{}), Warn, "setuid")
	judge(t, noNewPrivs(good, capSet{noNewPrivs: true}), OK, "already")
	for _, c := range []func(probe) Check{seccomp, ptrace, pidfdGetfd} {
		judge(t, c(probe{start: errors.New("no exec")}), Fail, "no exec")
	}
}

func TestProcOptions(t *testing.T) {
	line := func(options string) string {
		return "24 28 0:22 / /sys rw - sysfs sysfs rw\n23 28 0:21 / /proc rw,nosuid - proc proc " + options + "\n"
	}
	judge(t, procOptions(line("rw")), OK, "mounted")
	judge(t, procOptions(line("rw,hidepid=invisible")), Warn, "hidepid=invisible")
	judge(t, procOptions(line("rw,gid=5,hidepid=2")), Warn, "run hupt as root")
	judge(t, procOptions(line("rw,hidepid=ptraceable")), OK, "")
	judge(t, procOptions(line("rw,subset=pid")), Warn, "subset=pid")
	judge(t, procOptions(line("rw,hidepid=2")+line("rw")), OK, "") // mounted over
	judge(t, procOptions("garbage\n - \n"), OK, "")
}

func TestIOUring(t *testing.T) {
	judge(t, ioUring(-1), OK, "enabled")
	judge(t, ioUring(0), OK, "--allow-io-uring")
	judge(t, ioUring(1), OK, "group")
	judge(t, ioUring(2), OK, "no program")
}

func TestCapabilities(t *testing.T) {
	c := parseCapabilities("Name:\tx\nCapEff:\t0000000000080000\nNoNewPrivs:\t1\n")
	if !c.has(unix.CAP_SYS_PTRACE) || c.has(unix.CAP_SYS_ADMIN) || !c.noNewPrivs {
		t.Errorf("got %+v", c)
	}
}

func TestRuntimeDirectory(t *testing.T) {
	dir := t.TempDir()
	judge(t, runtimeDirectory(dir+"/run"), OK, dir)
	os.Symlink("/tmp", dir+"/link")
	judge(t, runtimeDirectory(dir+"/link"), Warn, "symbolic link")
}
