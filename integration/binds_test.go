package integration

import (
	"fmt"
	"strings"
	"testing"
)

// TestOddBinds: binds that fail bare, by their length, their family, or since the socket is
// bound, fail alike in every generation.
func TestOddBinds(t *testing.T) {
	t.Parallel()
	v := c("c-binds", "binds")
	v.tag, v.check = bodyTag, checkBody
	results := func(i *instance, version string) string {
		var b strings.Builder
		for line := range strings.Lines(i.tail()) {
			if _, result, ok := strings.Cut(strings.TrimSpace(line), version+" result "); ok {
				fmt.Fprintln(&b, result)
			}
		}
		return b.String()
	}
	s := newSite(t, v)
	bare := launchAt(t, s.dir, launch{bare: true, argv: s.argv()})
	s.awaitAnswer()
	want := results(bare, "v0")
	if n := strings.Count(want, "\n"); n != 18 {
		t.Fatalf("%d results bare:\n%s", n, want)
	}
	for _, flags := range [][]string{nil, {"--order", "stop-first"}, {"--exec"}, {"--revive"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, v)
			i := start(s, flags...)
			for n := 0; n <= 2; n++ {
				version := fmt.Sprintf("v%d", n)
				if n == 2 { // after a rollback, or a recovery
					s.deployBad("dies:100")
					if out, code := i.hupt("restart"); code != 1 {
						t.Errorf("exit code %d: %s", code, out)
					}
					s.awaitAnswer()
				}
				if n > 0 {
					s.deploy(version)
					i.restart()
					if who := s.awaitAnswer(); who.version != version {
						t.Errorf("%s serves after a restart to %s", who.version, version)
					}
				}
				if have := results(i, version); have != want {
					t.Errorf("%s:\n%s", version, differences(want, have))
				}
			}
		})
	}
}

// TestForgottenFamily: a server that forgets the family of its address, which the kernel takes for
// AF_INET, is handed over as any other.
func TestForgottenFamily(t *testing.T) {
	t.Parallel()
	v := c("c-binds", "binds", "model=unspec")
	v.tag, v.check = bodyTag, checkBody
	s := newSite(t, v)
	s.host = "0.0.0.0"
	i := start(s)
	run := begin(t, paced(s))
	for n := 1; n <= 3; n++ {
		version := fmt.Sprintf("v%d", n)
		if n == 2 {
			s.deployBad("dies:100")
			if out, code := i.hupt("restart"); code != 1 {
				t.Errorf("exit code %d: %s", code, out)
			}
		}
		s.deploy(version)
		i.restart()
		if who := s.awaitAnswer(); who.version != version {
			t.Errorf("%s serves, not %s", who.version, version)
		}
	}
	noneFailed(t, "a server that forgets the family", run.Stop())
	if g := i.serving(); len(g.Sockets) != 1 || !g.Sockets[0].Adopted {
		t.Errorf("%+v", g.Sockets)
	}
}
