package control

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mkdir(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCandidates(t *testing.T) {
	root := t.TempDir()
	uid := os.Getuid()
	mine := mkdir(t, root+"/mine")
	own := world{root: root, uid: uid, getenv: func(string) string { return "" }}
	if uid == 0 {
		want := []Dir{{root + "/run/hupt", 0}}
		if diff := cmp.Diff(want, own.candidates("")); diff != "" {
			t.Error(diff)
		}
		own.uid = 4242 // root owns nothing of what follows
	}
	fallback := Dir{root + "/tmp/hupt-" + itoa(own.uid), own.uid}
	env := map[string]string{}
	own.getenv = func(name string) string { return env[name] }
	check := func(override string, want ...Dir) {
		t.Helper()
		if diff := cmp.Diff(want, own.candidates(override)); diff != "" {
			t.Error(diff)
		}
	}
	check("", fallback)
	check("/over/ride", Dir{"/over/ride", own.uid})
	env["XDG_RUNTIME_DIR"] = mine
	if own.uid == uid {
		check("", Dir{mine + "/hupt", uid}, fallback)
		run := mkdir(t, root+"/run/user/"+itoa(uid))
		check("", Dir{mine + "/hupt", uid}, Dir{run + "/hupt", uid}, fallback)
	} else {
		check("", fallback) // sudo kept the variable of another user
	}
	// What root made for this user comes first; what somebody else has there, does not.
	before := own.candidates("")
	given := mkdir(t, root+"/run/hupt-"+itoa(own.uid))
	if own.uid == uid {
		check("", append([]Dir{{given, uid}}, before...)...)
	} else {
		check("", fallback)
	}
	env[EnvDir] = "/from/env"
	check("", Dir{"/from/env", own.uid})
	check("/over/ride", Dir{"/over/ride", own.uid})
}

func TestRootLooksEverywhere(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"run/user/1000/hupt", "run/user/x/hupt", "tmp/hupt-1001", "run/hupt-1002", "run/hupt-x", "tmp/hupt-01", "tmp/hupt-test-3", "run/hupt"} {
		mkdir(t, filepath.Join(root, dir))
	}
	w := world{root: root, getenv: func(string) string { return "" }}
	want := []Dir{{root + "/run/hupt", 0}, {root + "/run/hupt-1002", 1002}, {root + "/run/user/1000/hupt", 1000}, {root + "/tmp/hupt-1001", 1001}}
	if diff := cmp.Diff(want, w.dirs("")); diff != "" {
		t.Error(diff)
	}
	if got := w.dirs("/only"); len(got) != 1 {
		t.Errorf("an override must be the only one: %v", got)
	}
}

// TestProvide: root's hupt makes a directory for who it is about to be, and leaves alone
// what is there.
func TestProvide(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make something for somebody else")
	}
	w := world{root: t.TempDir(), getenv: func(string) string { return "" }}
	if err := w.provide(4242, 4243); err == nil {
		t.Error("it is made where there is no /run")
	}
	mkdir(t, w.root+"/run")
	for range 2 {
		if err := w.provide(4242, 4243); err != nil {
			t.Fatal(err)
		}
	}
	path := w.root + "/run/hupt-4242"
	if err := (Dir{path, 4242}).check(); err != nil {
		t.Error(err)
	}
	if w.uid = 4242; w.candidates("")[0].Path != path {
		t.Error(w.candidates(""))
	}
	target := mkdir(t, w.root+"/target")
	if err := os.Symlink(target, w.root+"/run/hupt-4244"); err != nil {
		t.Fatal(err)
	}
	if err := w.provide(4244, 4244); err != nil {
		t.Error(err)
	}
	if err := (Dir{target, 0}).check(); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
}

func TestPlantedDirectories(t *testing.T) {
	base := shortTemp(t)
	real := mkdir(t, base+"/real")
	open := mkdir(t, base+"/open")
	os.Chmod(open, 0o750)
	os.Symlink(real, base+"/link")
	os.Symlink(base+"/nowhere", base+"/dangling")
	os.WriteFile(base+"/file", nil, 0o600)
	for path, words := range map[string]string{
		open:               "open to others (mode 0750)",
		base + "/link":     "is a symbolic link",
		base + "/dangling": "is a symbolic link",
		base + "/file":     "is not a directory",
	} {
		_, err := Listen(path, 1)
		if !errors.Is(err, ErrUnsafeDir) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", path, err, words)
		}
		if _, err := Find(t.Context(), []Dir{{path, os.Getuid()}}); !errors.Is(err, ErrUnsafeDir) {
			t.Errorf("%s: the client got %v", path, err)
		}
	}
	if _, err := os.Lstat(base + "/nowhere"); err == nil {
		t.Error("a dangling link was followed")
	}
	foreign := Dir{real, os.Getuid() + 1}
	if err := foreign.make(); !errors.Is(err, ErrUnsafeDir) || !strings.Contains(err.Error(), "belongs to uid") {
		t.Errorf("another's directory: %v", err)
	}
	if _, err := Listen(base+"/no/parent", 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no parent: %v", err)
	}
	if _, err := Listen(base+"/"+strings.Repeat("x", 100), 1); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long name: %v", err)
	}
}

// abandon leaves a socket behind as a hupt that was killed does.
func abandon(t *testing.T, path string) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
}

func TestStaleSocketsAreSwept(t *testing.T) {
	dir := shortTemp(t)
	alive := start(t, dir, 100, newFake())
	abandon(t, dir+"/200.sock")
	abandon(t, dir+"/other.sock") // not a name of ours
	os.WriteFile(dir+"/300.sock", nil, 0o600)
	found, err := Find(t.Context(), []Dir{{dir, os.Getuid()}})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Socket != alive.Socket || found[0].Err != nil {
		t.Errorf("found %+v", found)
	}
	for name, want := range map[string]bool{"100.sock": true, "200.sock": false, "other.sock": true, "300.sock": true} {
		_, err := os.Lstat(filepath.Join(dir, name))
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A new hupt with the pid of one that was killed takes its place.
	abandon(t, dir+"/400.sock")
	start(t, dir, 400, newFake())
	// Two that live don't take each other's.
	if _, err := Listen(dir, 100); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
}

func TestFindSkipsWhatOthersMayHaveMade(t *testing.T) {
	base := shortTemp(t)
	start(t, base+"/a", 1, newFake())
	os.Symlink(base+"/a", base+"/b")
	found, err := Find(t.Context(), []Dir{{base + "/none", os.Getuid()}, {base + "/b", os.Getuid()}, {base + "/a", os.Getuid()}})
	if err != nil || len(found) != 1 {
		t.Errorf("found %+v, %v", found, err)
	}
}
