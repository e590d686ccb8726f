package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBlockingAndNot: versions that differ in whether their listener blocks follow each other.
// The flag is one for both while they share the socket; neither may see the other's: one that
// blocks exits if accept() does not, one that does not block stops answering if accept() does.
func TestBlockingAndNot(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--order=stop-first"}, {"--exec"}, {"--multi=2"}, {"--multi=2", "--rolling"}} {
		for _, first := range []int{0, 1} {
			kinds := []string{"py/accept_threads.py", "py/accept_events.py"}
			name := strings.TrimPrefix(strings.Join(flags, ""), "--")
			t.Run(fmt.Sprint(name, "/", kinds[first]), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, named("python-http1.1"))
				n := 0
				deploy := func() string {
					version := fmt.Sprintf("v%d", n)
					s.install(s.fill(kinds[(first+n)%2], version), 0o644)
					n++
					return version
				}
				deploy()
				i := start(s, flags...)
				if slices.Contains(flags, "--multi=2") {
					i.serve(2)
				}
				o := paced(s)
				o.Rate, o.Clients = 50, 50
				run := begin(t, o)
				for range 4 {
					version := deploy()
					i.restart()
					await(t, "the new version alone answers", func() bool {
						for range 10 {
							if who, err := s.answer(); err != nil || who.version != version {
								return false
							}
						}
						return true
					})
					time.Sleep(200 * time.Millisecond)
				}
				noneFailed(t, "versions that differ in O_NONBLOCK", run.Stop())
				if i.says("accept:") > 0 || i.says("Traceback") > 0 {
					t.Errorf("a version failed:\n%s", i.tail())
				}
			})
		}
	}
}
