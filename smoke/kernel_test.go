package smoke

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hupt/internal/machine"
)

func TestParseInet(t *testing.T) {
	const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0
   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1
   2: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000200007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 78 1
   3: garbage
   4: 0100007F:XXXX 00000000:0000 0A 0 0 0 0 0 0 0
`
	got := parseInet(strings.NewReader(text))
	if len(got) != 3 {
		t.Fatalf("%d lines: %v", len(got), got)
	}
	for i, want := range []string{"127.0.0.1:8080", "[::1]:80", "[::ffff:127.0.0.1]:8080"} {
		if got[i].local.String() != want {
			t.Errorf("%v, want %s", got[i].local, want)
		}
	}
	if got[0].inode != 4242 || got[0].state != 10 || got[2].state != 1 {
		t.Errorf("%+v", got)
	}
}

func FuzzParseInet(f *testing.F) {
	f.Add("0: 0100007F:1F90 00000000:0000 0A 0 0 0 0 0 0 5")
	f.Fuzz(func(t *testing.T, s string) {
		parseInet(strings.NewReader(s))
		parseUnix(strings.NewReader(s))
	})
}

// This process is its own example.
func TestListening(t *testing.T) {
	dir := t.TempDir()
	l4, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l4.Close()
	lu, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer lu.Close()
	u4, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u4.Close()
	want := []string{"tcp4 " + l4.Addr().String(), "unix " + lu.Addr().String(), "udp4 " + u4.LocalAddr().String()}
	var got []string
	for _, s := range listening([]int{os.Getpid()}) {
		got = append(got, s.String())
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("no %s in %v", w, got)
		}
	}

	go func() {
		for {
			c, err := l4.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	target := Target{Socket: Socket{Network: "tcp4", Address: l4.Addr().String()}, Dial: l4.Addr().String()}
	who := holder(target, func() []int { return []int{os.Getpid()} }, machine.Patience(time.Second))
	if !slices.Contains(who, os.Getpid()) {
		t.Errorf("held by %v, not %d", who, os.Getpid())
	}
	// Nobody accepts at the Unix socket's twin: a connection in a queue is nobody's.
	quiet, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	target.Dial = quiet.Addr().String()
	if who := holder(target, func() []int { return []int{os.Getpid()} }, 50*time.Millisecond); len(who) != 0 {
		t.Errorf("one that waits for accept is held by %v", who)
	}
}

func TestReachable(t *testing.T) {
	for _, tt := range [][4]string{
		{"tcp4", "0.0.0.0:80", "tcp", "127.0.0.1:80"},
		{"tcp4", "10.0.0.1:80", "tcp", "10.0.0.1:80"},
		{"tcp6", "[::]:80", "tcp", "[::1]:80"},
		{"udp4", "127.0.0.1:53", "udp", "127.0.0.1:53"},
		{"unix", "/run/s", "unix", "/run/s"},
	} {
		if n, a := (Socket{Network: tt[0], Address: tt[1]}).reachable(); n != tt[2] || a != tt[3] {
			t.Errorf("%v: %s %s", tt, n, a)
		}
	}
}

func TestResources(t *testing.T) {
	r := resources([]int{os.Getpid()})
	if !r.OK || r.Processes != 1 || r.FDs < 3 || r.RSS < 1<<20 {
		t.Errorf("%+v", r)
	}
	if r := resources([]int{1 << 30}); r.OK {
		t.Errorf("nobody has %+v", r)
	}
}

func TestMissing(t *testing.T) {
	targets := []Target{{Socket: Socket{"tcp4", "127.0.0.1:80", 5}, inodes: []uint64{5, 6}, Speaks: HTTP}}
	for _, tt := range []struct {
		have []Socket
		want string
	}{
		{[]Socket{{"tcp4", "127.0.0.1:80", 6}}, ""},
		{[]Socket{{"tcp4", "127.0.0.1:80", 7}}, "another socket"},
		{[]Socket{{"tcp4", "127.0.0.1:81", 5}}, "not listened on"},
		{nil, "not listened on"},
	} {
		got := strings.Join(missing(targets, tt.have), ";")
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%v: %q, want %q", tt.have, got, tt.want)
		}
	}
}
