package integration

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLinger: a program with a connection whose close waits for an hour keeps
// nobody waiting, whatever it does with it.
func TestLinger(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name, model string
		flags       []string
	}{
		{"bind", "bind", nil},
		{"notify", "notify", []string{"--ready", "notify"}},
		{"exec", "hold", []string{"--exec", "--drain-timeout", "1s"}},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s := lingering(t, l.model)
			i := start(s, l.flags...)
			s.deploy("v1")
			began := time.Now()
			i.restart()
			if who := s.awaitAnswer(); who.version != "v1" {
				t.Errorf("%s serves, not v1", who.version)
			}
			i.status()
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("a restart took %v", took)
			}
			if n := strings.Count(i.tail(), "Invalid argument"); l.model == "bind" && n != 2 {
				t.Errorf("%d binds of a connection failed, not 2:\n%s", n, i.tail())
			}
			began = time.Now()
			i.signal(unix.SIGTERM)
			if i.exitCode(); time.Since(began) > 5*time.Second {
				t.Errorf("TERM took %v", time.Since(began))
			}
		})
	}
}

// TestTracerHangs: hupt looks into memory that nobody serves, which no signal
// breaks off. That is told, and TERM ends it all the same.
func TestTracerHangs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("userfaultfd is root's")
	}
	t.Parallel()
	s := lingering(t, "memory")
	i := start(s)
	await(t, "hupt tells that it stands still", func() bool { return strings.Contains(i.tail(), "stood still") })
	s.awaitAnswer()
	began := time.Now()
	i.signal(unix.SIGTERM)
	if code := i.exitCode(); code != 137 || time.Since(began) > 5*time.Second {
		t.Errorf("exit code %d after %v:\n%s", code, time.Since(began), i.tail())
	}
}

func lingering(t *testing.T, model string) *site {
	t.Helper()
	s := newSite(t, c("c-linger", "linger", "model="+model))
	s.v.tag, s.v.check = bodyTag, checkBody
	return s
}
