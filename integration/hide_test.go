package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProbes: a program that connects to its own Unix address before it binds, to see
// whether another one runs, finds nobody there in any generation, and itself once it
// listens; nobody is refused meanwhile. Only connects that may be to such an address
// stop, and only in a generation that takes one over.
func TestProbes(t *testing.T) {
	t.Parallel()
	for _, flag := range append([]string{"--order=start-first", "--revive"}, modeFlags...) {
		for _, kind := range []string{"path", "abstract"} {
			t.Run(strings.Trim(flag, "-")+"/"+kind, func(t *testing.T) {
				t.Parallel()
				socket := filepath.Join(tempDir(t), "socket")
				if kind == "abstract" {
					socket = abstract(t)
				}
				s := unixSite(t, named("c-threads"), socket, "probes=1")
				i := start(s, flag)
				if n := i.status().Stops["seccomp:connect"]; n != 0 {
					t.Errorf("%d connects stopped in the first generation", n)
				}
				run := begin(t, paced(s))
				for n := range 3 {
					version := fmt.Sprintf("v%d", n+1)
					s.deploy(version)
					i.restart()
					if who := s.awaitAnswer(); who.version != version {
						t.Errorf("%s serves, not %s", who.version, version)
					}
				}
				noneFailed(t, "a program that probes", run.Stop())
				if flag == "--revive" {
					old := i.serving().PID
					unix.Kill(old, unix.SIGKILL)
					await(t, "it is revived", func() bool {
						all := i.status().Generations
						return len(all) == 1 && all[0].PID != old && all[0].State == "serving"
					})
					if who := s.awaitAnswer(); who.version != "v3" {
						t.Errorf("%s serves, not v3", who.version)
					}
				}
				if i.says("another one listens") > 0 {
					t.Errorf("a version found another one\n%s", i.tail())
				}
			})
		}
	}
}
