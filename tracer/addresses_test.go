package tracer

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestKept(t *testing.T) {
	at := func(port int, address bool) *Held {
		h := &Held{Name: Name{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Address: netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", port))}}
		if address {
			h.address = h.text()
		}
		return h
	}
	g := newGeneration(2, 1, nil, []*Held{at(1, true), at(2, true), at(2, true), at(3, false), at(4, true)})
	check := func(kept int, letGo ...string) {
		t.Helper()
		if n, missing := g.kept(); n != kept || g.addresses != 3 || !slices.Equal(missing, letGo) {
			t.Errorf("%d of %d, not %d: %q", n, g.addresses, kept, missing)
		}
	}
	check(0, "tcp4 127.0.0.1:1", "tcp4 127.0.0.1:2", "tcp4 127.0.0.1:4")
	g.offers[3].taken = true // that is none
	check(0, "tcp4 127.0.0.1:1", "tcp4 127.0.0.1:2", "tcp4 127.0.0.1:4")
	g.offers[2].taken = true // one of a group
	check(1, "tcp4 127.0.0.1:1", "tcp4 127.0.0.1:4")
	if p := g.progress(); p.Addresses != 3 || p.Kept != 1 || p.LetGo != "tcp4 127.0.0.1:1, tcp4 127.0.0.1:4" {
		t.Errorf("%+v", p)
	}
	g.offers[0].taken, g.offers[4].taken = true, true
	check(3)
}

func TestInWords(t *testing.T) {
	many := make([]string, 1000)
	if got := inWords(many[:8]); got != ", , , , , , , " {
		t.Errorf("%q", got)
	}
	if got := inWords(many); got != ", , , , , , ,  and 992 more" {
		t.Errorf("%q", got)
	}
}

func TestIsPrivate(t *testing.T) {
	dir := t.TempDir()
	inside := func(name string, mode os.FileMode) *socketFile {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Dir(path), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		return fileAtPath(t, path)
	}
	old := inside("own-before/sock", 0o700)
	time.Sleep(50 * time.Millisecond)
	g := newGeneration(1, 1, nil, nil)
	time.Sleep(50 * time.Millisecond)
	g.procs[123456789] = &process{}
	for path, want := range map[string]bool{
		"public/app.sock":           false,
		"public/app.123456789.sock": true,
		"public/app.12345678.sock":  false,
		"public/1234567890.sock":    false,
	} {
		if got := g.isPrivate(inside(path, 0o755)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if !g.isPrivate(inside("own/sock", 0o700)) {
		t.Error("what is in a new directory of its own is public")
	}
	if g.isPrivate(old) {
		t.Error("what is in a directory from before is private")
	}
}
