package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOddServers: servers that do not wait for connections as textbooks have
// it are restarted, first while nobody calls, so that only the wait itself can
// tell that they are ready, then under load.
func TestOddServers(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"asio", "tokio", "nested", "rdnorm", "duped"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c("odd-"+model, "odd", "model="+model))
			s.v.tag, s.v.check = bodyTag, checkBody
			i := start(s)
			for range few(3) {
				i.restart("--timeout", (patience / 3).String())
			}
			run := begin(t, paced(s))
			for range few(5) {
				i.restart("--timeout", (patience / 3).String())
			}
			noneFailed(t, model, run.Stop())
		})
	}
}

// TestGivesUp: a new version that shuts its listener down on the way out does
// not close the port of the one that serves.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, c("gives-up", "odd", "model=gives-up"))
	s.v.tag, s.v.check = bodyTag, checkBody
	i := start(s)
	run := begin(t, paced(s))
	bad := filepath.Join(s.dir, "bad")
	for range few(3) {
		if err := os.WriteFile(bad, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, code := i.hupt("restart"); code != 1 {
			t.Errorf("exit code %d: %s", code, out)
		}
		os.Remove(bad)
		i.restart()
	}
	noneFailed(t, "a version that gives up", run.Stop())
}

// TestGreedy: a server that polls, and is in accept() for one more connection
// when it is quiesced, still serves the one that it has.
func TestGreedy(t *testing.T) {
	t.Parallel()
	s := newSite(t, c("greedy", "odd", "model=greedy"))
	i := launchAt(t, s.dir, launch{argv: s.argv(), env: s.env()})
	var conn net.Conn
	await(t, "it listens", func() (ok bool) {
		var err error
		conn, err = net.Dial("tcp", s.address())
		return err == nil
	})
	defer conn.Close()
	old := i.status().Generations[0].PID
	await(t, "it waits for one more", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", old))
		return strings.HasPrefix(string(b), fmt.Sprintf("%d ", unix.SYS_ACCEPT))
	})
	i.restart()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(got), fmt.Sprintf("pid=%d ", old)) {
		t.Errorf("the old version, pid %d, answered %q, %v", old, got, err)
	}
	await(t, "the old version is gone", func() bool { return len(i.status().Generations) == 1 })
}

// TestLargeResponses: a blocking call that takes long, because its client reads
// slowly, is not cut short by a restart.
func TestLargeResponses(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"write", "send", "writev", "sendmsg", "sendfile"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			const mebibytes = 24
			s := newSite(t, c("large-"+model, "large", "model="+model, "workers=24"))
			i := launchAt(t, s.dir, launch{argv: s.argv(), env: s.env()})
			var first net.Conn
			await(t, "it serves", func() (ok bool) {
				var err error
				first, err = net.Dial("tcp", s.address())
				return err == nil
			})
			first.Close()
			type result struct {
				n   int64
				err error
			}
			const readers = 4
			results := make(chan result, readers)
			for range readers {
				conn, err := net.Dial("tcp", s.address())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				go func() {
					n, err := io.Copy(io.Discard, &slowReader{conn})
					results <- result{n, err}
				}()
			}
			for range 3 {
				time.Sleep(200 * time.Millisecond)
				i.restart()
			}
			for range readers {
				if r := <-results; r.err != nil || r.n != mebibytes<<20 {
					t.Errorf("%d of %d bytes: %v", r.n, mebibytes<<20, r.err)
				}
			}
			if out := i.tail(); strings.Count(out, "short:") > 1 { // the first connection was closed unread
				t.Errorf("a call came back short:\n%s", out)
			}
		})
	}
}

// slowReader reads some 8 MiB a second.
type slowReader struct{ io.Reader }

func (s *slowReader) Read(b []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return s.Reader.Read(b[:min(len(b), 16<<10)])
}
