package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCauses: where a version fails, hupt restart says who holds the address that it
// wanted, and which pidfile names whom.
func TestCauses(t *testing.T) {
	t.Parallel()
	t.Run("address", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("python-http1.1"))
		port, taken := freePort(t), occupiedPort(t)
		path := filepath.Join(s.dir, "taken")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s.ports("", port)
		i := launchAt(t, s.dir, launch{argv: s.argv(), env: s.env()})
		await(t, "it serves", func() bool { return i.says("serves after") == 1 })
		for what, at := range map[string]any{tcp4(taken): taken, "unix " + path: path} {
			s.ports("", port, at)
			want := fmt.Sprintf("%s is held by process %d (", what, os.Getpid())
			if out, code := i.hupt("restart"); code != 1 || !strings.Contains(out, want) || !strings.Contains(out, "its last failed call: bind") {
				t.Errorf("not %s\nexit code %d\n%s", want, code, out)
			}
		}
		s.ports("sys.exit(3)", port)
		if out, code := i.hupt("restart"); code != 1 || strings.Contains(out, "held by") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	t.Run("pidfile", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("python-http1.1"))
		port := freePort(t)
		s.ports(`
if os.path.exists(sys.argv[4]): sys.exit('it runs already')
open(sys.argv[4], 'w').write('%d\n' % os.getpid())
`, port)
		i := launchAt(t, s.dir, launch{argv: append(s.argv(), "--pid-file", "app.pid"), env: s.env()})
		await(t, "it serves", func() bool { return i.says("serves after") == 1 })
		want := fmt.Sprintf("app.pid names process %d (", i.serving().PID)
		out, code := i.hupt("restart")
		if code != 1 || !strings.Contains(out, want) || !strings.Contains(out, "of generation 1, which lives: see --unlink") {
			t.Errorf("not %s\nexit code %d\n%s", want, code, out)
		}
		// What is no plain file is not looked into.
		os.Remove(filepath.Join(s.dir, "app.pid"))
		os.Symlink("/proc/self/stat", filepath.Join(s.dir, "app.pid"))
		if out, code := i.hupt("restart"); code != 1 || strings.Contains(out, "names process") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
}
