package integration

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reopeners are servers that listen anew when they are told to, on each kind of socket.
func reopeners(t *testing.T) map[string]*site {
	all := map[string]*site{
		"tcp4":     newSite(t, c("reopens", "reopens", "pidfile=go")),
		"tcp6":     newSite(t, c("reopens", "reopens", "pidfile=go")),
		"group":    newSite(t, c("reopens", "reopens", "pidfile=go", "reuseport=1")),
		"abstract": unixSite(t, c("reopens", "reopens", "pidfile=go"), abstract(t)),
		"renamed":  unixSite(t, c("reopens", "reopens", "pidfile=go"), filepath.Join(tempDir(t), "socket"), "rename=1"),
		"path":     unixSite(t, c("reopens", "reopens", "pidfile=go"), filepath.Join(tempDir(t), "socket")),
	}
	for _, s := range all {
		s.v.tag, s.v.check = bodyTag, checkBody
	}
	all["tcp6"].host = "::1"
	return all
}

// reopen makes process pid listen anew, and waits until it does.
func reopen(i *instance, pid int) {
	i.t.Helper()
	before := i.says("listens again")
	if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
		i.t.Fatal(err)
	}
	await(i.t, "it listens again", func() bool { return i.says("listens again") > before })
}

// TestReopens: while a restart is under way, the serving version closes its listener and
// binds the address anew. It gets its own back, and goes on serving; nobody is refused.
func TestReopens(t *testing.T) {
	t.Parallel()
	for name, s := range reopeners(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := start(s)
			goes := filepath.Join(s.dir, "go") // the new version waits for that
			for n := range 4 {
				how := []string{"late", "lost"}[n%2]
				run := begin(t, paced(s))
				s.deploy(fmt.Sprintf("%s%d", how, n))
				os.Remove(goes)
				over := make(chan int)
				go func() {
					_, code := i.hupt("restart")
					over <- code
				}()
				old := i.serving()
				await(t, "the new version is there", func() bool { return len(i.status().Generations) > 1 })
				reopen(i, old.PID)
				reopen(i, old.PID)
				s.write(goes, "")
				code := <-over
				noneFailed(t, "one that listens anew beside "+how, run.Stop())
				now := i.serving()
				switch {
				case how == "late" && (code != 0 || now.Number == old.Number):
					t.Errorf("exit code %d, generation %d serves\n%s", code, now.Number, i.tail())
				case how == "lost" && (code != 1 || now.Number != old.Number):
					t.Errorf("a version that fails: exit code %d, generation %d serves\n%s", code, now.Number, i.tail())
				}
				await(t, "one generation is left", func() bool { return len(i.status().Generations) == 1 })
				reopen(i, now.PID)
				s.awaitAnswer()
			}
			if i.says("bind: ") > 0 {
				t.Errorf("it could not bind again\n%s", i.tail())
			}
		})
	}
}

// TestReopensDraining: one that is quiesced, and binds its address anew, is in nobody's
// way, gets no client, and goes on with those that it has.
func TestReopensDraining(t *testing.T) {
	t.Parallel()
	for name, s := range reopeners(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := start(s, "--drain=tcp", "--drain-timeout=600s")
			old := i.serving()
			slow, err := s.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer slow.Close()
			fmt.Fprint(slow, "GET / HTTP/1.1\r\n") // and no more, till the end
			await(t, "a thread has it", func() bool {
				tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", old.PID))
				return len(tasks) == 2
			})
			s.deploy("v1")
			i.restart()
			run := begin(t, paced(s))
			for range 3 {
				reopen(i, old.PID)
				for range 10 {
					if who := s.awaitAnswer(); who.pid == old.PID {
						t.Errorf("the old version got a client")
					}
				}
			}
			noneFailed(t, "beside one that listens anew", run.Stop())
			fmt.Fprint(slow, "\r\n")
			if b, err := io.ReadAll(slow); err != nil || !strings.Contains(string(b), fmt.Sprintf("pid=%d ", old.PID)) {
				t.Errorf("the slow request: %q, %v", b, err)
			}
			await(t, "the old version has gone", func() bool { return len(i.status().Generations) == 1 })
			s.awaitAnswer()
			if i.says("bind: ") > 0 || i.status().Cut != 0 {
				t.Errorf("it could not bind again, or connections were cut\n%s", i.tail())
			}
		})
	}
}

// TestLateWorkers: workers of an SO_REUSEPORT group each open a socket of their own, and
// the last of them only when a restart is under way. What waits there is not lost.
func TestLateWorkers(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--order=start-first", "--order=stop-first", "--ready=delay:1s"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c("late", "prefork", "workers=8", "reuseport=1", "model=late"))
			s.v.tag, s.v.check = bodyTag, checkBody
			i := start(s, flag)
			run := begin(t, s.slow(60)) // so that something waits in the queues
			for n := range 3 {
				s.deploy(fmt.Sprintf("v%d", n+1))
				i.restart()
				time.Sleep(100 * time.Millisecond)
			}
			noneFailed(t, "workers that come late", run.Stop())
			noWarning(t, i)
		})
	}
}
