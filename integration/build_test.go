package integration

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// The scripts and configurations are embedded, so that the compiled tests run
// anywhere, also as a user who can't read the source.
//
//go:embed testdata/py testdata/node testdata/conf
var testdata embed.FS

// binDir holds hupt and the compiled victims: HUPT_BIN if that is set, by
// somebody who built them for a user without a compiler, else a directory of
// our own.
var binDir string

func TestMain(m *testing.M) {
	// A victim may leave orphans: they must come to us, not to init, so that
	// leftovers can be reaped and are not taken for running.
	becomeSubreaper()
	go reapOrphans()
	inheritNothingIgnored()
	passNothingOn()
	os.Exit(run(m))
}

// inheritNothingIgnored: who runs the tests may ignore what a terminal sends, as
// a shell's background jobs do, and victims would inherit that. What is caught
// here is theirs to begin with its default.
func inheritNothingIgnored() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// passNothingOn: descriptors that whoever runs the tests left open would be the
// victims', too; and while Go starts a process it may overwrite one of them in
// the child, so that not every victim would find the same.
func passNothingOn() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

func run(m *testing.M) int {
	binDir = os.Getenv("HUPT_BIN")
	if binDir == "" {
		dir, err := os.MkdirTemp("", "hupt-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binDir = dir
		if err := buildAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	defer tellCosts()
	return m.Run()
}

// buildAll compiles hupt (with the race detector if HUPT_RACE=1) and every
// victim into dir. testdata/build.sh is used by the Makefile, too.
func buildAll(dir string) error {
	cmd := exec.Command("sh", "testdata/build.sh", dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("testdata/build.sh: %w\n%s", err, out)
	}
	return nil
}

// binary returns the path of a compiled program.
func binary(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(binDir, name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s was not built: %v", name, err)
	}
	return path
}

// commands is the hupt that is asked to restart, stop and so on: it starts faster
// without the race detector, which looks at its code in cmd/hupt's own tests.
func commands(t testing.TB) string {
	t.Helper()
	if path := filepath.Join(binDir, "hupt-client"); syscall.Access(path, 1) == nil {
		return path
	}
	return binary(t, "hupt")
}

// debian names the package that has a program the tests need.
var debian = map[string]string{
	"nginx": "nginx-light", "haproxy": "haproxy", "redis-server": "redis-server",
	"python3": "python3", "node": "nodejs", "unshare": "util-linux", "bash": "bash",
	"setpriv": "util-linux", "id": "coreutils", "cat": "coreutils",
	"gunicorn": "gunicorn", "apache2": "apache2-bin", "lighttpd": "lighttpd", "php-fpm": "php-fpm",
	"pgbouncer": "pgbouncer", "sshd": "openssh-server", "ssh-keygen": "openssh-client",
	"nc": "netcat-openbsd", "kill": "procps", "killall": "psmisc", "curl": "curl",
}

// installed returns the path of a server that the system must have. A missing
// one is a failure: a suite that skips proves nothing.
func installed(t testing.TB, name string) string {
	t.Helper()
	// Before $PATH, where a version manager may have put a shell script in
	// front that is not the program itself.
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"} {
		if path := filepath.Join(dir, name); syscall.Access(path, 1) == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: apt-get install %s (or make deps)", name, debian[name])
	}
	return path
}

// placeholder is what the victims have where their version goes.
const placeholder = "hupt-code-version:"

// writeProgram writes an executable file. No fork may happen while it is open
// for writing: the child would hold it open until its own exec, and whoever
// executes the program meanwhile would get ETXTBSY.
func writeProgram(path string, content []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, 0o755)
}

var pristine sync.Map // name of a victim → its bytes

// bake returns the bytes of a compiled victim with a version in it.
func bake(t testing.TB, name, version string) []byte {
	t.Helper()
	content, ok := pristine.Load(name)
	if !ok {
		b, err := os.ReadFile(binary(t, name))
		if err != nil {
			t.Fatal(err)
		}
		content, _ = pristine.LoadOrStore(name, b)
	}
	if len(version) > 16 {
		t.Fatalf("version %q has more than 16 characters", version)
	}
	from := []byte(fmt.Sprintf("%s%-16s", placeholder, "0"))
	if !bytes.Contains(content.([]byte), from) {
		t.Fatalf("%s has no place for a version", name)
	}
	return bytes.ReplaceAll(content.([]byte), from, []byte(fmt.Sprintf("%s%-16s", placeholder, version)))
}
