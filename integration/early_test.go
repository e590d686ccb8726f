package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEarlySignals: what comes before hupt is ready to do anything about it is
// neither lost nor fatal by default.
func TestEarlySignals(t *testing.T) {
	t.Parallel()
	const slow = 2 * time.Second
	begin := func(t *testing.T, sigs ...unix.Signal) (*instance, *site) {
		s := newSite(t, named("c-threads"))
		mark := filepath.Join(s.dir, "mark")
		i := launchAt(t, s.dir, launch{argv: s.argv(), faults: "start=mark?" + mark + " start=" + slow.String()})
		await(t, "it is hupt's own code that runs", func() bool { _, err := os.Stat(mark); return err == nil })
		for _, sig := range sigs {
			i.signal(sig)
			time.Sleep(10 * time.Millisecond) // else they are one by the kernel's rule
		}
		return i, s
	}
	t.Run("HUP", func(t *testing.T) {
		t.Parallel()
		i, s := begin(t, unix.SIGHUP)
		s.awaitAnswer()
		if st := i.status(); st.Restarts != 0 || len(st.Generations) != 1 {
			t.Errorf("a restart of what was about to be started: %+v", st)
		}
	})
	for name, sigs := range map[string][]unix.Signal{"TERM": {unix.SIGTERM}, "twice": {unix.SIGTERM, unix.SIGTERM}, "INT": {unix.SIGINT}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, _ := begin(t, sigs...)
			if !i.waitEnd(patience) {
				t.Fatal("it goes on")
			}
			if ws := i.cmd.ProcessState; ws.ExitCode() < 0 {
				t.Errorf("hupt itself was killed: %v", ws)
			}
		})
	}
}
