package fdtable

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// unixSocket is a socket of this process that is bound to name.
func unixSocket(t *testing.T, kind int, name string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	try(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	try(t, unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
	return fd
}

func findUnix(t *testing.T, states uint32, inode uint64) *Socket {
	t.Helper()
	all, err := DumpUnix(states)
	try(t, err)
	for n := range all {
		if all[n].Inode == inode {
			return &all[n]
		}
	}
	return nil
}

func TestDumpUnix(t *testing.T) {
	for name, kind := range map[string]int{"stream": unix.SOCK_STREAM, "seqpacket": unix.SOCK_SEQPACKET} {
		for _, where := range []string{filepath.Join(t.TempDir(), "s"), "@hupt-test-" + name} {
			fd := unixSocket(t, kind, where)
			try(t, unix.Listen(fd, 7))
			inode := inodeOf(t, fd)
			client, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
			try(t, err)
			t.Cleanup(func() { unix.Close(client) })
			try(t, unix.Connect(client, &unix.SockaddrUnix{Name: where}))

			raw := where
			if where[0] == '@' {
				raw = "\x00" + where[1:]
			}
			l := findUnix(t, Listening, inode)
			if l == nil {
				t.Fatalf("%s %s: not among those that listen", name, where)
			}
			want := Socket{Family: unix.AF_UNIX, Type: uint8(kind), State: StateListen, Path: raw, Inode: inode, Queue: 1, Backlog: 7, File: l.File}
			if *l != want || (l.File == FileID{}) != (where[0] == '@') {
				t.Errorf("%+v, not %+v", *l, want)
			}
			conn, _, err := unix.Accept(fd)
			try(t, err)
			t.Cleanup(func() { unix.Close(conn) })
			c := findUnix(t, Connected, inodeOf(t, conn))
			if c == nil {
				t.Fatalf("%s: the accepted connection is not there", name)
			}
			if c.State != StateEstablished || c.Path != raw || c.File != l.File || c.Peer != inodeOf(t, client) {
				t.Errorf("accepted: %+v", *c)
			}
			if l := findUnix(t, Listening, inode); l == nil || l.Queue != 0 {
				t.Errorf("after the accept: %+v", l)
			}
		}
	}
}

func TestDumpUnixDatagram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd := unixSocket(t, unix.SOCK_DGRAM, path)
	s := findUnix(t, 1<<StateClose, inodeOf(t, fd))
	if s == nil || s.Path != path || s.Type != unix.SOCK_DGRAM || s.Peer != 0 {
		t.Fatalf("%+v", s)
	}
	client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	try(t, err)
	defer unix.Close(client)
	try(t, unix.Sendto(client, []byte("hello"), 0, &unix.SockaddrUnix{Name: path}))
	if s := findUnix(t, 1<<StateClose, inodeOf(t, fd)); s == nil || s.Unread != 5 {
		t.Errorf("%+v", s)
	}
}

func TestUnixPath(t *testing.T) {
	for in, want := range map[string]string{
		"":             "",
		"/run/s\x00":   "/run/s",
		"/run/s":       "/run/s",
		"/r\x00garb":   "/r",
		"\x00a\x00b":   "\x00a\x00b",
		"\x00name\x00": "\x00name\x00",
	} {
		if got := UnixPath([]byte(in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// FuzzParseUnix: whatever a kernel may send one day, it is read without a panic.
func FuzzParseUnix(f *testing.F) {
	f.Add([]byte("\x01\x01\x0a\x00AAAA\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00abcd"))
	f.Fuzz(func(t *testing.T, b []byte) { parseUnix(b) })
}
