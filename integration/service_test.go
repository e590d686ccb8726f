package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// service stands in for systemd.
type service struct {
	name string
	mu   sync.Mutex
	said []string
}

func fakeSystemd(t *testing.T) *service {
	t.Helper()
	d := &service{name: fmt.Sprintf("@hupt-test-systemd-%d-%x", os.Getpid(), rand.Uint32())}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: d.name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			d.mu.Lock()
			d.said = append(d.said, string(b[:n]))
			d.mu.Unlock()
		}
	}()
	return d
}

// lines are what was said so far, each assignment.
func (d *service) lines() (lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, text := range d.said {
		lines = append(lines, strings.Split(text, "\n")...)
	}
	return lines
}

// check: hupt says what is its own to say, and nobody else says anything.
// also are the names of what the program may say, and did.
func (d *service) check(t *testing.T, also ...string) {
	t.Helper()
	lines := d.lines()
	if !slices.Contains(lines, "READY=1") {
		t.Errorf("systemd was not told READY=1: %q", lines)
	}
	main, bad := "", 0
	for _, line := range lines {
		name, value, ok := strings.Cut(line, "=")
		switch {
		case name == "MAINPID" && main == "":
			main = value
		case !ok || !slices.Contains(append(also, "READY", "STATUS", "RELOADING", "MONOTONIC_USEC", "STOPPING"), name) || strings.HasPrefix(value, "a lie"):
			if bad++; bad <= 3 {
				t.Errorf("systemd was told %q", line)
			}
		}
	}
	if bad > 3 {
		t.Errorf("and %d more of these", bad-3)
	}
	if pid, _ := strconv.Atoi(main); pid <= 1 {
		t.Errorf("systemd was told that the main process is %q", main)
	}
}
