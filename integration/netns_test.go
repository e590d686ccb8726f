package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"hupt/supervisor"
)

// TestNetworkNamespace: a child that binds the same address in a network
// namespace of its own gets a socket of its own, not the one that is held.
func TestNetworkNamespace(t *testing.T) {
	t.Parallel()
	s := newSite(t, c("netns", "threads"))
	s.v.tag, s.v.check = bodyTag, checkBody
	script := filepath.Join(s.dir, "start")
	if err := writeProgram(script, fmt.Appendf(nil, "#!/bin/sh\n%s -rn %s port=%d &\nexec %s port=%d\n",
		installed(t, "unshare"), s.program(), s.port, s.program(), s.port)); err != nil {
		t.Fatal(err)
	}
	i := launchAt(t, s.dir, launch{argv: []string{script}, env: s.env()})
	s.awaitAnswer()
	both := func() bool {
		n := 0
		for _, pid := range i.serving().PIDs {
			if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); filepath.Dir(exe) == s.dir {
				n++
			}
		}
		return n == 2
	}
	await(t, "both serve", both)
	run := begin(t, paced(s))
	seen := newLineage(i)
	for n := 1; n <= few(3); n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		adopted := 0
		for _, e := range i.restartEvents() {
			if e.Kind == supervisor.EventAdopted {
				adopted++
			}
		}
		if adopted != 1 {
			t.Errorf("%d sockets were handed over, not 1", adopted)
		}
		seen.isNew(s, version)
		await(t, "both serve", both)
	}
	noneFailed(t, "a child in another network namespace", run.Stop())
}
