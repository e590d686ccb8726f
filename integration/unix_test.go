package integration

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// unixSite is a site whose server listens on a Unix socket.
func unixSite(t testing.TB, v *victim, socket string, args ...string) *site {
	t.Helper()
	s := newSite(t, v)
	s.socket, s.args = socket, args
	if v.tag == nil {
		v.tag, v.check = bodyTag, checkBody
	}
	return s
}

// abstract is an abstract name that no other test has.
func abstract(t testing.TB) string { return "@hupt-" + filepath.Base(tempDir(t)) }

// restartsUnder restarts a site's server n times under load and fails the test
// if a request fails or a restart is not a new process with new code.
func restartsUnder(t *testing.T, s *site, i *instance, n int) {
	t.Helper()
	run := begin(t, s.load())
	seen := newLineage(i)
	for k := 1; k <= n; k++ {
		version := fmt.Sprintf("v%d", k)
		s.deploy(version)
		run.SetPhase(version)
		i.restart("--wait-drained")
		run.SetPhase("")
		seen.isNew(s, version)
		awaitRequests(t, run, int(run.made.Load())+clients, time.Minute)
	}
	noneFailed(t, fmt.Sprintf("%s on %s, %d restarts", s.v.name, s.socket, n), run.Stop())
	if status := i.status(); status.Restarts != n || status.Rollbacks != 0 || status.Cut != 0 {
		t.Errorf("hupt counts %d restarts, %d rollbacks, %d connections cut; want %d, 0, 0",
			status.Restarts, status.Rollbacks, status.Cut, n)
	}
}

// unixServers wait for connections in their own ways.
var unixServers = []string{"go", "c-threads", "c-epoll-edge", "c-prefork", "c-fork-per-connection"}

// TestUnixAbstract: a server on an abstract name is handed over as one on a port.
func TestUnixAbstract(t *testing.T) {
	for _, name := range unixServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := unixSite(t, named(name), abstract(t))
			i := start(s)
			restartsUnder(t, s, i, max(3, scale(unixRestarts)))
			g := i.serving()
			if len(g.Sockets) != 1 || g.Sockets[0].Network != "unix" || g.Sockets[0].Address != s.socket || !g.Sockets[0].Adopted {
				t.Errorf("hupt status: %+v", g.Sockets)
			}
		})
	}
}
