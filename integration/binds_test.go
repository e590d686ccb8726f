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
