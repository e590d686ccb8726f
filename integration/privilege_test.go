package integration

import (
	"bytes"
	encoding "encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUserProbe: a program finds everything as setpriv(1) and env(1) would have given it
// to it without hupt.
func TestUserProbe(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	dir := tempDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(other)
	env := []string{"env", "-u", "HOME", "-u", "USER", "-u", "LOGNAME", "-u", "SHELL", "HOME=/"}
	setpriv := []string{installed(t, "setpriv"), "--reuid", id, "--regid", id, "--groups", id, "--nnp", "--inh-caps", "-all,+net_bind_service", "--ambient-caps", "+net_bind_service"}
	look := func(l launch) string {
		out := filepath.Join(dir, "probe.out")
		os.Remove(out)
		writeData(t, dir)
		l.before = append([]string{binary(t, "setup")}, l.before...)
		l.env, l.stdout, l.stderr = []string{"PROBE_OUT=" + out, "PROBE_EXIT=7"}, filled(t, filepath.Join(dir, "stdout")), os.DevNull
		l.argv = append(l.argv, binary(t, "probe"), "an argument", "", "\xff\n")
		i := launchAt(t, dir, l)
		if code := i.exitCode(); code != 7 {
			t.Errorf("exit code %d\n%s", code, i.tail())
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	bare := look(launch{bare: true, before: append(env, setpriv...)})
	under := look(launch{flags: append(asOther[:len(asOther):len(asOther)], "--no-new-privs"), uid: other})
	if !strings.Contains(bare, "NoNewPrivs:\t1") || !strings.Contains(bare, "CapEff:\t0000000000000400") {
		t.Fatalf("the probe does not tell of rights:\n%s", bare)
	}
	diff(t, "a program of another user", bare, under)
}

// TestCapabilities: what root's hupt gives up, its program has as without it, in every
// generation and mode, whatever hupt was given.
func TestCapabilities(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	setpriv := installed(t, "setpriv")
	for name, before := range map[string][]string{
		"all":        nil,
		"bounded":    {setpriv, "--bounding-set", "-sys_time,-mknod,-net_raw"},
		"inherited":  {setpriv, "--inh-caps", "+chown,+mknod"},
		"ambient":    {setpriv, "--inh-caps", "+chown,+mknod", "--ambient-caps", "+chown,+mknod"},
		"nnp":        {setpriv, "--nnp"},
		"noroot":     {setpriv, "--securebits", "+noroot", "--inh-caps", "+sys_ptrace,+sys_admin,+mknod", "--ambient-caps", "+sys_ptrace,+sys_admin,+mknod"},
		"noptrace":   {setpriv, "--bounding-set", "-sys_ptrace"},
		"unroot":     {setpriv, "--securebits", "+noroot", "--inh-caps", "-all"},
		"another's":  {setpriv, "--reuid", "65533", "--regid", "65533", "--clear-groups"},
		"his caps":   {setpriv, "--reuid", "65533", "--regid", "65533", "--clear-groups", "--inh-caps", "+mknod,+sys_chroot", "--ambient-caps", "+mknod,+sys_chroot"},
		"no setpcap": {setpriv, "--bounding-set", "-setpcap"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bare := capabilitiesBare(t, before)
			for _, flag := range append([]string{"--order=start-first"}, modeFlags...) {
				s := newSite(t, named("c-threads"))
				if err := os.Chmod(s.dir, 0o777); err != nil {
					t.Fatal(err)
				}
				l := launch{flags: []string{flag, "-v"}, before: before, hupt: commands(t),
					argv: append([]string{"/bin/sh", "-c", `grep ^Cap /proc/self/status > ` + s.dir + `/caps; exec "$@"`, "sh"}, s.argv()...)}
				if slices.Contains(before, "65533") {
					l.uid = other
				}
				i := launchAt(t, s.dir, l)
				s.awaitAnswer()
				for n := range 3 {
					if n > 0 {
						os.Remove(s.dir + "/caps")
						i.restart("--wait-drained")
					}
					got, err := os.ReadFile(s.dir + "/caps")
					if err != nil || string(got) != bare {
						t.Errorf("generation %d has\n%s, not as bare\n%s (%v)", n+1, got, bare, err)
					}
				}
				if name == "all" || name == "bounded" || name == "ambient" || name == "nnp" || name == "noroot" {
					gaveUp(t, i)
				}
				i.signal(unix.SIGTERM)
				i.exitCode()
			}
		})
	}
}

func capabilitiesBare(t *testing.T, before []string) string {
	t.Helper()
	argv := append(slices.Clone(before), "/bin/sh", "-c", "grep ^Cap /proc/self/status")
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

// gaveUp fails the test if a thread of hupt's has what it has no use for.
func gaveUp(t *testing.T, i *instance) {
	t.Helper()
	if i.says("built with cgo") > 0 {
		t.Log("hupt was built with cgo, and keeps its capabilities")
		return
	}
	const useless = 1<<unix.CAP_MKNOD | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_SYS_MODULE | 1<<unix.CAP_AUDIT_WRITE | 1<<unix.CAP_SETFCAP
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", i.pid))
	if err != nil || len(threads) < 3 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		path := fmt.Sprintf("/proc/%d/task/%s/status", i.pid, thread.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(text)) {
			var set uint64
			field, value, _ := strings.Cut(line, ":")
			fmt.Sscanf(strings.TrimSpace(value), "%x", &set)
			if field == "CapEff" && set&useless != 0 {
				t.Errorf("%s: %s", path, line)
			}
			if field == "CapEff" && set&(1<<unix.CAP_SYS_PTRACE) == 0 {
				t.Errorf("%s lacks CAP_SYS_PTRACE: %s", path, line)
			}
		}
	}
}

// TestNoNewPrivileges: with --no-new-privs, neither a set-uid bit nor capabilities of a
// file give anything, as under setpriv --nnp; without it, both do, as bare.
func TestNoNewPrivileges(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	dir := tempDir(t)
	setpriv := installed(t, "setpriv")
	id, err := os.ReadFile(installed(t, "id"))
	if err != nil {
		t.Fatal(err)
	}
	cat, err := os.ReadFile(installed(t, "cat"))
	if err != nil {
		t.Fatal(err)
	}
	setuid, capable := filepath.Join(dir, "setuid-id"), filepath.Join(dir, "capable-cat")
	for path, content := range map[string][]byte{setuid: id, capable: cat} {
		if err := writeProgram(path, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(setuid, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	// struct vfs_cap_data, revision 2, with the effective bit; xattr(7), capabilities(7).
	var value bytes.Buffer
	encoding.Write(&value, encoding.LittleEndian, []uint32{0x02000001, 1 << unix.CAP_CHOWN, 0, 0, 0})
	if err := unix.Setxattr(capable, "security.capability", value.Bytes(), 0); err != nil {
		t.Fatal(err)
	}
	// Root's hupt runs a program that drops its rights, and executes such files.
	drop := []string{setpriv, "--reuid", "65533", "--regid", "65533", "--clear-groups", "/bin/sh", "-c",
		setuid + " -u; " + capable + " /proc/self/status | grep CapEff"}
	bare := func(before ...string) string {
		argv := append(before, drop...)
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	under := func(flags ...string) string {
		t.Helper()
		d := tempDir(t)
		l := launch{flags: flags, argv: drop, hupt: commands(t), stderr: os.DevNull}
		if slices.Contains(flags, "--user") {
			l.argv, l.uid = drop[6:], other
		}
		i := launchAt(t, d, l)
		if code := i.exitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		text, _ := os.ReadFile(i.output)
		return string(text)
	}
	const gains, nothing = "0\nCapEff:\t0000000000000001\n", "65533\nCapEff:\t0000000000000000\n"
	if got := bare(); got != gains {
		t.Fatalf("bare:\n%s", got)
	}
	if got := under(); got != gains {
		t.Errorf("under hupt:\n%s", got)
	}
	if got := bare(setpriv, "--nnp"); got != nothing {
		t.Fatalf("under setpriv --nnp:\n%s", got)
	}
	if got := under("--no-new-privs"); got != nothing {
		t.Errorf("under hupt --no-new-privs:\n%s", got)
	}
	if got := under("--no-new-privs", "--user", "65533:65533"); got != nothing {
		t.Errorf("under hupt --no-new-privs --user:\n%s", got)
	}

	// Root who becomes root has what root has.
	i := launchAt(t, tempDir(t), launch{flags: []string{"--user", "root", "--no-new-privs", "-q"}, argv: []string{"/bin/sh", "-c", "grep ^Cap /proc/self/status"}, hupt: commands(t)})
	i.exitCode()
	if text, _ := os.ReadFile(i.output); string(text) != capabilitiesBare(t, nil) {
		t.Errorf("root as root:\n%s", text)
	}

	// Nobody is warned of what he asked for.
	i = launchAt(t, tempDir(t), launch{flags: []string{"--no-new-privs", "--user", "65533:65533"}, argv: []string{"true"}, uid: other})
	if i.exitCode() != 0 || i.says("no_new_privs") > 0 {
		t.Error(i.tail())
	}
	// The bit comes with hupt, too.
	i = launchAt(t, tempDir(t), launch{flags: []string{"--no-new-privs"}, argv: []string{"/bin/sh", "-c", "grep NoNewPrivs /proc/$PPID/status /proc/$PPID/task/*/status | grep -cv 1$; grep NoNewPrivs /proc/self/status"}})
	if i.exitCode(); i.says("\n0\nNoNewPrivs:\t1") != 1 {
		t.Error(i.tail())
	}
}

// TestHookUser: hooks and the command of --ready run as the user that was named, the
// program as before.
func TestHookUser(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	s := newSite(t, named("go"))
	if err := os.Chmod(s.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	who := "id -u; id -G; echo $HOME; grep ^CapEff /proc/self/status | cut -f 2; echo to stderr > /dev/stderr"
	i := start(s, "--hook-user", "65533:65532", "--hook", "before-start="+who, "--hook", "ready=id -u >> "+s.dir+"/hooks",
		"--ready", "cmd:id -u >> "+s.dir+"/asked")
	for _, says := range []string{"65533", "65532", "/", "0000000000000000", "to stderr"} {
		if i.says("before-start: "+says+"\n") != 1 {
			t.Errorf("the hook does not say %q\n%s", says, i.tail())
		}
	}
	s.deploy("v1")
	i.restart()
	newLineage(i).isNew(s, "v1")
	await(t, "the hooks", func() bool { b, _ := os.ReadFile(s.dir + "/hooks"); return string(b) == "65533\n65533\n" })
	if b, _ := os.ReadFile(s.dir + "/asked"); !strings.HasPrefix(string(b), "65533\n") || strings.Count(string(b), "\n") != strings.Count(string(b), "65533\n") {
		t.Errorf("the command of --ready was run by %q", b)
	}
	if uid := strings.Fields(statusField(i.serving().PID, "Uid")); len(uid) == 0 || uid[0] != "0" {
		t.Errorf("the program is of uid %v", uid)
	}
	// Where that user can't go, the hook says so.
	closed := filepath.Join(s.dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	j := launchAt(t, tempDir(t), launch{flags: []string{"--hook-user", "65533:65533", "--hook", "before-start=true"}, argv: []string{"true"}, dir: closed})
	if code := j.exitCode(); code != 125 || j.says("could not be run by uid 65533 in "+closed) != 1 {
		t.Errorf("exit code %d\n%s", code, j.tail())
	}
}

// TestUserRefused: who is not root is told so in a line, and the exit code is the
// documented one.
func TestUserRefused(t *testing.T) {
	t.Parallel()
	credential := &syscall.Credential{Uid: other, Gid: other}
	if os.Getuid() != 0 {
		credential = nil
	}
	for _, c := range []struct {
		flags []string
		code  int
		says  string
	}{
		{[]string{"--user", "1:1"}, 125, "to become "},
		{[]string{"--hook-user", "1:1"}, 125, "hupt: --hook-user: not allowed: to become "},
		{[]string{"--user", "nosuch-user"}, 2, `hupt: --user: there is no user "nosuch-user"`},
		{[]string{"--user", "1:nosuch-group"}, 2, `hupt: --user: there is no group "nosuch-group"`},
		{[]string{"--user", "4000000"}, 2, "has no entry"},
		{[]string{"--user", "4294967295:1"}, 2, "there is no uid 4294967295"},
		{[]string{"--user", "1:1", "--ambient-caps", "nosuch"}, 2, `there is no capability "nosuch"`},
		{[]string{"--ambient-caps", "chown"}, 2, "--ambient-caps is for --user"},
		{[]string{"--user", "1:1", "--hook-user", "1:1"}, 2, "--hook-user is for hooks of another user"},
	} {
		t.Run(strings.Join(c.flags, " "), func(t *testing.T) {
			t.Parallel()
			i := launchAt(t, tempDir(t), launch{flags: c.flags, argv: []string{"true"}, attr: &syscall.SysProcAttr{Setpgid: true, Credential: credential}})
			if code := i.exitCode(); code != c.code || i.says(c.says) != 1 || i.says("hupt: ") != 1 || i.says("\n") != 1 {
				t.Errorf("exit code %d, not %d\n%s", code, c.code, i.tail())
			}
		})
	}
	// Who is that user already needs no right for it.
	self := fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
	if credential != nil {
		self = fmt.Sprintf("%d:%d", other, other)
	}
	i := launchAt(t, tempDir(t), launch{flags: []string{"--runtime-dir", "/nonexistent/x", "-q", "--user", self}, argv: []string{"/bin/sh", "-c", "id -u"},
		attr: &syscall.SysProcAttr{Setpgid: true, Credential: credential}})
	if code := i.exitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, i.tail())
	}
}

// TestUserBinary: a file of hupt's that the user may not read is told of; one that he may
// not reach by its path is no obstacle.
func TestUserBinary(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	dir := tempDir(t)
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(commands(t))
	if err != nil {
		t.Fatal(err)
	}
	hupt := filepath.Join(home, "hupt")
	if err := writeProgram(hupt, content); err != nil {
		t.Fatal(err)
	}
	for mode, code := range map[os.FileMode]int{0o755: 0, 0o700: 125, 0o711: 125} {
		if err := os.Chmod(hupt, mode); err != nil {
			t.Fatal(err)
		}
		i := launchAt(t, tempDir(t), launch{hupt: hupt, flags: asOther, argv: []string{"true"}, uid: other})
		if got := i.exitCode(); got != code || code != 0 && i.says("hupt: uid 65533 may not read and execute "+hupt+": permission denied; chmod 755 it") != 1 {
			t.Errorf("mode %o: exit code %d\n%s", mode, got, i.tail())
		}
	}
}
