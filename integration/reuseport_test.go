package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hupt/supervisor"
)

// groupVictims are servers with as many sockets on one port as the file
// "workers" of their site says.
var groupVictims = []*victim{
	c("c-prefork-group", "prefork", "workers=@workers", "reuseport=1"),
	c("c-threads-group", "threads", "workers=@workers", "reuseport=1"),
	{name: "nginx-group", template: "conf/nginx-group.conf", argv: named("nginx").argv},
}

func init() {
	for _, v := range groupVictims {
		v.tag, v.check = bodyTag, checkBody
	}
}

// setWorkers says how many workers the next version has.
func (s *site) setWorkers(n int) {
	s.t.Helper()
	s.extra["WORKERS"] = fmt.Sprint(n)
	if err := os.WriteFile(filepath.Join(s.dir, "workers"), []byte(s.extra["WORKERS"]), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func newGroupSite(t *testing.T, v *victim, workers int) *site {
	s := &site{t: t, v: v, dir: tempDir(t), host: "127.0.0.1", port: freePort(t), extra: map[string]string{}}
	s.setWorkers(workers)
	s.deploy("v0")
	return s
}

// listeners counts the sockets that listen on the site's port.
func (s *site) listeners() (n int) {
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", s.port)) && f[3] == "0A" {
			n++
		}
	}
	return n
}

// TestGroupShrinksAndGrows: a group of sockets on one port loses nothing when
// the new version has fewer of them, or more.
func TestGroupShrinksAndGrows(t *testing.T) {
	t.Parallel()
	for _, v := range groupVictims {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := newGroupSite(t, v, 8)
			i := start(s)
			run := begin(t, s.load())
			seen := newLineage(i)
			sizes := []int{2, 8, 1, 3, 8, 2, 8}
			for n, size := range sizes[:max(3, scale(len(sizes)))] {
				version := fmt.Sprintf("v%d", n+1)
				s.setWorkers(size)
				s.deploy(version)
				run.SetPhase(fmt.Sprintf("to %d", size))
				i.restart("--wait-drained")
				run.SetPhase("")
				seen.isNew(s, version)
				await(t, fmt.Sprintf("%d sockets are left", size), func() bool { return s.listeners() == size })
			}
			noneFailed(t, v.name, run.Stop())
			if status := i.status(); status.Rollbacks != 0 || status.Cut != 0 {
				t.Errorf("hupt counts %d rollbacks, %d connections cut", status.Rollbacks, status.Cut)
			}
			noWarning(t, i)
		})
	}
}

func noWarning(t *testing.T, i *instance) {
	t.Helper()
	if out := i.tail(); strings.Contains(out, "in their queues") || strings.Contains(out, "order of the group") {
		t.Errorf("hupt warns:\n%s", out)
	}
}

// TestGroupFails: a version that joins a group with more sockets and fails, at
// whatever stage, takes no connection along.
func TestGroupFails(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"never", "late"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newGroupSite(t, c("group-fails-"+how, "group_fails", "workers=@workers", "reuseport=1", "model="+how), 3)
			s.v.tag, s.v.check = bodyTag, checkBody
			i := start(s)
			run := begin(t, s.load())
			bad := filepath.Join(s.dir, "bad")
			for n := range max(2, scale(6)) {
				if err := os.WriteFile(bad, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				s.setWorkers([]int{8, 1, 3}[n%3])
				if out, code := i.hupt("restart", "--timeout", readyLimit.String()); code != 1 {
					t.Errorf("exit code %d: %s", code, out)
				}
				os.Remove(bad)
				s.setWorkers([]int{2, 5}[n%2])
				i.restart("--wait-drained")
			}
			noneFailed(t, "a version that fails in a group", run.Stop())
			noWarning(t, i)
		})
	}
}

// TestGroupBusy: what waits in the queues of sockets that nobody took over
// is served while the old workers have requests that take long.
func TestGroupBusy(t *testing.T) {
	t.Parallel()
	s := newGroupSite(t, groupVictims[0], 8)
	i := start(s)
	o := s.slow(100)
	o.Clients = 40 // 8 are served, 32 wait in the queues
	run := begin(t, o)
	for _, size := range []int{2, 8, 2} {
		awaitRequests(t, run, int(run.made.Load())+80, patience)
		s.setWorkers(size)
		s.deploy(fmt.Sprintf("v%d", size))
		events := i.restartEvents()
		if len(events) == 0 || events[len(events)-1].Kind != supervisor.EventConfirmed {
			t.Errorf("the restart ended in %+v", events)
		}
	}
	await(t, "the old ones have gone", func() bool { return len(i.status().Generations) == 1 })
	noneFailed(t, "workers with full queues", run.Stop())
	noWarning(t, i)
}
