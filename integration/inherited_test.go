package integration

import (
	"net"
	"os"
	"strings"
	"testing"
)

// TestInheritedReady: a server that inherited what it listens on serves at its first wait
// on it, and not when the time is over.
func TestInheritedReady(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--multi=2"}, {"--revive"}} {
		t.Run(strings.Trim(strings.Join(flags, ""), "-"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c("inherited-ready", "threads", "fd=3"))
			s.v.tag, s.v.check = bodyTag, checkBody
			l, err := net.Listen("tcp", s.address())
			if err != nil {
				t.Fatal(err)
			}
			file, err := l.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			i := launchAt(t, s.dir, launch{flags: flags, argv: s.argv(), env: s.env(), inherit: []*os.File{file}})
			file.Close()
			l.Close()
			n := 1
			if len(flags) > 0 && flags[0] == "--multi=2" {
				n = 2
			}
			await(t, "it is said to serve", func() bool { return i.says("serves after") == n })
			before := i.status().Stops["watch"]
			s.awaitAnswer()
			if after := i.status().Stops["watch"]; after != before {
				t.Errorf("%d calls stopped when it served", after-before)
			}
			s.deploy("v1")
			if out, code := i.hupt("restart", "--keep-addresses"); code != 0 || strings.Contains(out, "let go") {
				t.Errorf("exit code %d\n%s", code, out)
			}
			if who := s.awaitAnswer(); who.version != "v1" {
				t.Errorf("%s answers", who.version)
			}
		})
	}
}
