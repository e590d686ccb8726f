package tracer

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMayRemove: the kernel's rule for who may take a name away.
func TestMayRemove(t *testing.T) {
	const own, other = 1000, 33
	nobody := credentials{uid: 7, gid: 7}
	for _, c := range []struct {
		who   credentials
		dir   unix.Stat_t
		owner uint32
		want  bool
	}{
		{nobody, unix.Stat_t{Mode: 0o755}, 7, false}, // its file in root's directory
		{nobody, unix.Stat_t{Mode: 0o777}, 0, true},
		{nobody, unix.Stat_t{Mode: 0o1777}, 0, false}, // root's in /tmp
		{nobody, unix.Stat_t{Mode: 0o1777}, 7, true},
		{nobody, unix.Stat_t{Mode: 0o700, Uid: 7}, 0, true},
		{nobody, unix.Stat_t{Mode: 0o077, Uid: 7}, 7, false}, // the owner's bits count, and no others
		{nobody, unix.Stat_t{Mode: 0o1770, Uid: 7}, 0, true},
		{nobody, unix.Stat_t{Mode: 0o775, Gid: 7}, 0, true},
		{nobody, unix.Stat_t{Mode: 0o707, Gid: 7}, 0, false},
		{nobody, unix.Stat_t{Mode: 0o772}, 0, false}, // write without search
		{credentials{uid: 7, groups: []uint32{own, other}}, unix.Stat_t{Mode: 0o770, Gid: other}, 0, true},
		{credentials{override: true}, unix.Stat_t{Mode: 0o555, Uid: other}, 0, true},
		{credentials{uid: 7, override: true}, unix.Stat_t{Mode: 0o1777}, 0, false},
		{credentials{uid: 7, override: true, owner: true}, unix.Stat_t{Mode: 0o1777}, 0, true},
	} {
		if got := c.who.mayRemove(c.dir, c.owner); got != c.want {
			t.Errorf("%+v in mode %#o of %d:%d, a file of %d: %v", c.who, c.dir.Mode, c.dir.Uid, c.dir.Gid, c.owner, got)
		}
	}
}

// TestSetSocketFile: permissions go to the very socket, without set-id bits, and
// to nothing that has come to its name.
func TestSetSocketFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	at, err := lookUp(os.Getpid(), unix.AT_FDCWD, path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := at.stat()
	if err != nil {
		t.Fatal(err)
	}
	f := &socketFile{lookup: at, id: idOf(&st)}
	want := modeOf(&st)
	want.mode = 0o6711
	f.set(want)
	if st, _ = at.stat(); st.Mode&0o7777 != 0o711 {
		t.Errorf("mode %#o", st.Mode&0o7777)
	}
	// A link is put in its place, and the file that it leads to in the number's.
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	if err := os.Symlink(victim, path); err != nil {
		t.Fatal(err)
	}
	var there unix.Stat_t
	unix.Stat(victim, &there)
	for _, id := range []fileID{f.id, idOf(&there)} {
		f.id = id
		f.set(fileMode{0o777, there.Uid, there.Gid})
	}
	os.Remove(path)
	os.Rename(victim, path)
	f.set(fileMode{0o777, there.Uid, there.Gid})
	if st, _ := at.stat(); st.Mode&0o7777 != 0o600 {
		t.Errorf("a file that is no socket has mode %#o", st.Mode&0o7777)
	}
}
