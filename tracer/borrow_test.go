package tracer

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const stranger = 65534

// needsRoot is for what only root can do: become somebody else.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
}

// openTemp is a directory that anybody can get to, and no more.
func openTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hupt-rights-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func makeDir(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func listenAt(t *testing.T, path string) int {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	t.Cleanup(func() { l.Close() })
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

func fileAtPath(t *testing.T, path string) *socketFile {
	t.Helper()
	at, err := lookUp(os.Getpid(), unix.AT_FDCWD, path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := at.stat()
	if err != nil {
		t.Fatal(err)
	}
	return &socketFile{lookup: at, id: idOf(&st)}
}

// TestUnlinkByRights: what was put off is made with the rights of who asked, and
// what hupt itself may is as before on all its threads.
func TestUnlinkByRights(t *testing.T) {
	needsRoot(t)
	dir := openTemp(t)
	before := threadRights(t)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil { // another test's vfork changes it, too
		t.Fatal(err)
	}
	nobody := credentials{uid: stranger, gid: stranger}
	for _, c := range []struct {
		name string
		mode os.FileMode
		by   credentials
		gone bool
	}{
		{"closed", 0o755, nobody, false},
		{"sticky", 0o777 | os.ModeSticky, nobody, false},
		{"open", 0o777, nobody, true},
		{"group", 0o770, credentials{uid: stranger, gid: stranger, groups: []uint32{0}}, true},
		{"nogroup", 0o770, nobody, false},
		{"override", 0o755, credentials{uid: stranger, gid: stranger, override: true}, true},
		{"root", 0o700, credentials{override: true, search: true, owner: true}, true},
	} {
		path := makeDir(t, filepath.Join(dir, c.name), c.mode) + "/s"
		listenAt(t, path)
		f := fileAtPath(t, path)
		if got := c.by.mayTakeAway(f.lookup); got != c.gone {
			t.Errorf("%s: may take it away: %v", c.name, got)
		}
		f.remove(nil, c.by)
		f.unlink()
		if _, err := os.Lstat(path); (err != nil) != c.gone {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for range 20 {
		asTask(nobody, func() (int, error) { return 0, nil })
	}
	after := threadRights(t)
	for end := time.Now().Add(5 * time.Second); after != before && time.Now().Before(end); after = threadRights(t) {
		time.Sleep(time.Millisecond) // the threads are on their way out
	}
	if after != before {
		t.Errorf("hupt's threads had\n%s and have\n%s", before, after)
	}
	if d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || d != 1 {
		t.Errorf("dumpable: %d, %v", d, err)
	}
}

// threadRights is what the threads that stay may do, each kind once.
func threadRights(t *testing.T) string {
	t.Helper()
	seen := ""
	tids, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range tids {
		b, err := os.ReadFile("/proc/self/task/" + e.Name() + "/status")
		if err != nil {
			continue // it has ended
		}
		if strings.Contains(string(b), "State:\tX") || strings.Contains(string(b), "State:\tZ") {
			continue
		}
		s := ""
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "Uid:") || strings.HasPrefix(line, "Gid:") || strings.HasPrefix(line, "CapEff:") {
				s += line
			}
		}
		if !strings.Contains(seen, s) {
			seen += s
		}
	}
	return seen
}

// TestAsTaskPanics: a panic on the other thread is the caller's.
func TestAsTaskPanics(t *testing.T) {
	needsRoot(t)
	defer func() {
		if p := recover(); p != "here" {
			t.Errorf("%v", p)
		}
	}()
	asTask(credentials{uid: stranger, gid: stranger}, func() (int, error) { panic("here") })
}

// TestLookUpByRights: a path is followed where its task could follow it.
func TestLookUpByRights(t *testing.T) {
	needsRoot(t)
	dir := openTemp(t)
	within := makeDir(t, makeDir(t, dir+"/closed", 0o700)+"/open", 0o777)
	if err := os.Symlink(within, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		uid  uint32
		want bool
	}{{0, true}, {stranger, false}} {
		cmd := exec.Command("sleep", "60")
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.uid}, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		for _, path := range []string{within + "/s", dir + "/link/s", "closed/open/s", "/proc/self/cwd/link/s", "link/s"} {
			_, err := lookUp(cmd.Process.Pid, unix.AT_FDCWD, path)
			if (err == nil) != c.want || err != nil && !errors.Is(err, unix.EACCES) {
				t.Errorf("user %d, %s: %v", c.uid, path, err)
			}
		}
	}
}

// TestBoundFile: only the file that the kernel made for the bind is noted, whatever
// hupt read and looked up.
func TestBoundFile(t *testing.T) {
	dir := openTemp(t)
	mine, other := dir+"/mine", dir+"/other"
	fd := listenAt(t, mine)
	listenAt(t, other)
	asked := fileMode{uid: uint32(os.Geteuid())}
	at := func(path string) lookup { return fileAtPath(t, path).lookup }
	id, ok := boundFile(fd, at(mine), mine, true, asked)
	if !ok || id != fileAtPath(t, mine).id {
		t.Error("its own file is not believed")
	}
	if _, ok := boundFile(fd, at(other), other, true, asked); ok {
		t.Error("the file of another name is believed")
	}
	if _, err := fileOf(fd); err != nil {
		return // without CAP_NET_ADMIN, the rest can't be told
	}
	// The name is the same, and led elsewhere when the kernel followed it.
	if _, ok := boundFile(fd, at(other), mine, true, asked); ok {
		t.Error("another's file is believed, since a link was swapped")
	}
}
