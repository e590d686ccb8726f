package integration

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHuptKilled: hupt dies by SIGKILL under load; the program lives on, in
// the same processes, and no request fails.
func TestHuptKilled(t *testing.T) {
	t.Parallel()
	for _, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, v)
			i := start(s)
			s.deploy("v1")
			i.restart("--wait-drained")
			s.deploy("v2") // nobody may come to serve this
			serving := i.serving()
			run := begin(t, paced(s))
			time.Sleep(500 * time.Millisecond)
			run.SetPhase("hupt is dead")
			i.kill()
			time.Sleep(2 * time.Second)
			noneFailed(t, v.name, run.Stop())
			lives(t, i, s, serving.PID, serving.PIDs, "v1")
		})
	}
}

// TestHuptKilledInRestart: the same while a new version is starting. The new
// one is lost with hupt, for its bind() can't be answered; the old one is not.
func TestHuptKilledInRestart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ victim, arg string }{
		{"go", "-startup=5s"},
		{"c-threads", "startup=5000"},
	} {
		t.Run(c.victim, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(c.victim))
			s.args = []string{c.arg}
			i := start(s)
			serving := i.serving()
			run := begin(t, paced(s))
			s.deploy("v1")
			i.restart("--no-wait")
			await(t, "the new generation is starting", func() bool { return len(i.status().Generations) == 2 })
			run.SetPhase("hupt is dead")
			i.kill()
			time.Sleep(7 * time.Second)
			noneFailed(t, c.victim, run.Stop())
			lives(t, i, s, serving.PID, serving.PIDs, "v0")
		})
	}
}

// kill ends hupt at once, and has the test's end expect orphans.
func (i *instance) kill() {
	i.orphans = true
	i.heirs = childrenOf(i.pid)
	i.signal(unix.SIGKILL)
	i.waitEnd(patience)
}

// lives fails the test unless the program runs untraced and answers.
func lives(t *testing.T, i *instance, s *site, first int, pids []int, version string) {
	t.Helper()
	who, err := s.answer()
	if err != nil || who.version != version {
		t.Errorf("without hupt %v answers, not %s: %v", who, version, err)
	}
	if !s.v.fleeting && !slices.Contains(pids, who.pid) {
		t.Errorf("without hupt pid %d answers, not one of %v", who.pid, pids)
	}
	if state, _ := statOf(first); state == "" || state == "Z" || state == "T" || state == "t" {
		t.Errorf("without hupt the program is in state %q", state)
	}
	if tracer := statusField(first, "TracerPid"); tracer != "0" {
		t.Errorf("without hupt the program's TracerPid is %s", tracer)
	}
}
