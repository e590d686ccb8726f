package integration

import (
	"strings"
	"testing"
	"time"
)

// TestDeployAtLaunch: a version is deployed after the one before was executed and before
// hupt has heard of that. Of that one its file is known nevertheless: if the new version
// is bad, it serves again, though its name leads to the bad one.
func TestDeployAtLaunch(t *testing.T) {
	t.Parallel()
	const slow = 2 * time.Second
	for _, flag := range modeFlags {
		t.Run(strings.Trim(flag, "-"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("c-threads"))
			i := launchAt(t, s.dir, launch{flags: []string{flag}, argv: s.argv(), env: s.env(), faults: "launched=" + slow.String()})
			was := s.awaitAnswer()
			s.deployBad("exit:3")
			await(t, "hupt has heard of its launch", func() bool { return i.says("is confirmed") > 0 || i.says("serves") > 0 })
			if out, code := i.hupt("restart"); code != 1 {
				t.Errorf("hupt restart: exit code %d\n%s", code, out)
			}
			if now, err := s.answer(); err != nil || now.version != was.version {
				t.Errorf("%v answers, not %s: %v", now, was.version, err)
			}
			s.deploy("v1")
			i.restart()
			newLineage(i).isNew(s, "v1")
		})
	}
}
