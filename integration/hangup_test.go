package integration

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOwnHangup: with --restart-signal none, a HUP to hupt or to the program is
// the program's own: nginx reads its configuration anew and replaces its
// workers. hupt restart is another thing.
func TestOwnHangup(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("nginx"))
	i := start(s, "--restart-signal", "none")
	run := begin(t, paced(s))
	master := i.serving().PID
	for n, to := range []int{i.pid, master} {
		version := []string{"v1", "v2"}[n]
		before := i.serving().PIDs
		s.deploy(version)
		unix.Kill(to, unix.SIGHUP)
		await(t, "nginx has read its configuration anew", func() bool { who, err := s.answer(); return err == nil && who.version == version })
		await(t, "its old workers have gone", func() bool {
			return !slices.ContainsFunc(i.serving().PIDs, func(pid int) bool { return pid != master && slices.Contains(before, pid) })
		})
	}
	st := i.status()
	if st.Restarts != 0 || i.serving().PID != master {
		t.Errorf("%d restarts, pid %d serves, not %d", st.Restarts, i.serving().PID, master)
	}
	s.deploy("v3")
	i.restart("--wait-drained")
	newLineage(i).isNew(s, "v3")
	if i.serving().PID == master {
		t.Error("the same master after hupt restart")
	}
	noneFailed(t, "nginx' own HUP", run.Stop())
}
