package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/supervisor"
)

// asker asks a server over new connections, one after the other, and remembers
// from which ports it was not answered in full.
type asker struct {
	mu       sync.Mutex
	answered int
	cut      map[uint16]error // by the client's port
	refused  []error
}

func (a *asker) run(address string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			a.mu.Lock()
			a.refused = append(a.refused, err)
			a.mu.Unlock()
			continue
		}
		err = ask(c)
		a.mu.Lock()
		if port := c.LocalAddr().(*net.TCPAddr).AddrPort().Port(); err != nil {
			a.cut[port] = err
		} else {
			a.answered++
		}
		a.mu.Unlock()
		// Only whoever did not answer closes first: the port stays in TIME_WAIT
		// there, and is not the next client's.
		c.Close()
	}
}

// ask sends one request and wants a whole answer.
func ask(c net.Conn) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET /?ms=3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	text, err := io.ReadAll(r)
	if err == nil && !strings.Contains(string(text), "\r\n\r\npid=") {
		err = fmt.Errorf("half an answer: %q", text)
	}
	return err
}

// inHand is the ports of the clients whose connections the stopped processes
// have accepted.
func inHand(t *testing.T, pids []int, port int) map[uint16]bool {
	t.Helper()
	mine := make(map[uint64]bool)
	for _, pid := range pids {
		fds, err := fdtable.Sockets(pid)
		if err != nil {
			t.Fatal(err)
		}
		for _, inode := range fds {
			mine[inode] = true
		}
	}
	sockets, err := fdtable.Dump(fdtable.Connected, uint16(port))
	if err != nil {
		t.Fatal(err)
	}
	ports := make(map[uint16]bool)
	for _, k := range sockets {
		if mine[k.Inode] {
			ports[k.Remote.Port()] = true
		}
	}
	return ports
}

// TestRevive: a server that is killed 100 times under load. Each time it is
// stopped first, so that what it has in hand can be counted: those are cut,
// unless they had their answer already, and no others; nobody is refused, and
// everybody else waits and is answered.
func TestRevive(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go", "c-threads"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named(name))
			i := start(s, "--revive", "--revive-delay", "10ms", "--revive-reset", "20ms", "-q")
			a := &asker{cut: make(map[uint16]error)}
			stop := make(chan struct{})
			var clients sync.WaitGroup
			for range 8 {
				clients.Go(func() { a.run(s.address(), stop) })
			}
			kills := max(10, scale(100)/2)
			if name == "go" {
				kills = max(10, scale(100))
			}
			var held int
			inFlight := make(map[uint16]bool)
			for n := range kills {
				a.mu.Lock()
				before := a.answered
				a.mu.Unlock()
				await(t, "the revived server answers", func() bool {
					a.mu.Lock()
					defer a.mu.Unlock()
					return a.answered >= before+20
				})
				g := i.serving()
				for _, pid := range g.PIDs {
					unix.Kill(pid, unix.SIGSTOP)
				}
				await(t, "the server is stopped", func() bool {
					return !slices.ContainsFunc(g.PIDs, func(pid int) bool { return !stopped(pid) })
				})
				ports := inHand(t, g.PIDs, s.port)
				held += len(ports)
				for p := range ports {
					inFlight[p] = true
				}
				unix.Kill(g.PID, unix.SIGKILL)
				_ = n
			}
			await(t, "it serves at last", func() bool { _, err := s.answer(); return err == nil })
			close(stop)
			clients.Wait()
			if len(a.refused) > 0 {
				t.Errorf("%d connections were refused, the first: %v", len(a.refused), a.refused[0])
			}
			for port, err := range a.cut {
				if !inFlight[port] {
					t.Errorf("the connection from port %d was cut, but no server that was killed had it: %v", port, err)
				}
				if !errors.Is(err, unix.ECONNRESET) && !strings.Contains(err.Error(), "half an answer") {
					t.Errorf("the connection from port %d ended with %v", port, err)
				}
			}
			t.Logf("%d kills: %d answered, %d in flight at a kill, %d of those cut, 0 refused", kills, a.answered, held, len(a.cut))
			if held == 0 || len(a.cut) == 0 {
				t.Error("no request was in flight at any kill")
			}
			if st := i.status(); st.Restarts != 0 {
				t.Errorf("%d restarts", st.Restarts)
			}
		})
	}
}

// stopped: all threads of a process are in a group-stop (state T, or t to its
// tracer).
func stopped(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "t") {
			return false
		}
	}
	return true
}

// TestReviveHowever: exit codes, _exit, signals; on-failure leaves one that
// ended well; the exit code when it gives up is the program's.
func TestReviveHowever(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags, script string
		code, starts  int
	}{
		{"--revive=always --revive-max 3 --revive-delay 1ms", "exit 0", 0, 4},
		{"--revive --revive-max 2 --revive-delay 1ms", "exit 7", 7, 3},
		{"--revive --revive-max 2 --revive-delay 1ms", "kill -SEGV $$", 139, 3},
		{"--revive=on-failure --revive-max 2 --revive-delay 1ms", "exit 7", 7, 3},
		{"--revive=on-failure --revive-max 2 --revive-delay 1ms", "exit 0", 0, 1},
		{"--revive=on-failure --revive-max 2 --revive-delay 1ms", "kill -TERM $$", 143, 1},
		{"", "exit 0", 0, 1},
	} {
		i := launchAt(t, tempDir(t), launch{flags: strings.Fields(c.flags), argv: []string{"sh", "-c", "echo begun; " + c.script}})
		if code := i.exitCode(); code != c.code || i.says("begun") != c.starts {
			t.Errorf("%q with %s: exit code %d after %d starts, not %d after %d\n%s", c.script, c.flags, code, i.says("begun"), c.code, c.starts, i.tail())
		}
	}
}

// TestReviveAndRestart: a bad version in the pause, a stop in the pause, and a
// generation that drains and is killed: the serving one is not disturbed.
func TestReviveAndRestart(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	i := start(s, "--revive", "--revive-delay", "1h")
	slow := begin(t, withRequests(s.slow(60_000), 2))
	await(t, "slow requests are in flight", func() bool { return i.serving().Connections >= 2 })
	old := i.serving().PID
	s.deploy("v1")
	i.restart()
	serving := i.serving().PID
	unix.Kill(old, unix.SIGKILL)
	await(t, "the draining one has gone", func() bool { return len(i.status().Generations) == 1 })
	slow.Stop()
	if pid := i.serving().PID; pid != serving {
		t.Errorf("pid %d serves, not %d", pid, serving)
	}
	unix.Kill(serving, unix.SIGKILL)
	seen := newLineage(i)
	await(t, "it is revived at once", func() bool { st := i.status(); return len(st.Generations) == 1 && st.Generations[0].PID != serving })
	s.awaitAnswer()
	seen.isNew(s, "v1")

	// The next pause is an hour. Who connects waits, until a restart.
	unix.Kill(i.serving().PID, unix.SIGKILL)
	await(t, "the pause", func() bool { return i.status().State == "reviving" })
	waits := begin(t, withRequests(s.load(), 8))
	if out, code := i.hupt("restart", "--", "false"); code != 1 {
		t.Errorf("a bad version in the pause: exit code %d\n%s", code, out)
	}
	s.deploy("v2")
	i.restart()
	seen.isNew(s, "v2")
	noneFailed(t, "waited for a restart in the pause", waits.Wait())

	unix.Kill(i.serving().PID, unix.SIGKILL)
	await(t, "another pause", func() bool { return i.status().State == "reviving" || i.says("it is started again in") > 2 })
	i.signal(unix.SIGTERM)
	if code := i.exitCode(); code != 137 {
		t.Errorf("exit code %d", code)
	}
}

// mayflies are servers on each sort of socket that has a queue.
func mayflies(t *testing.T, model string) map[string]*site {
	v := func() *victim { return c("mayfly", "mayfly", "model="+model, "pidfile=begun") }
	all := map[string]*site{
		"tcp":      newSite(t, v()),
		"abstract": unixSite(t, v(), abstract(t)),
		"path":     unixSite(t, v(), filepath.Join(tempDir(t), "socket")),
		"renamed":  unixSite(t, v(), filepath.Join(tempDir(t), "socket"), "rename=2"),
	}
	for _, s := range all {
		s.v.tag, s.v.check = bodyTag, checkBody
	}
	return all
}

// dial connects to the server.
func (s *site) dial() (net.Conn, error) {
	if s.socket != "" {
		return net.Dial("unix", s.socket)
	}
	return net.Dial("tcp", s.address())
}

// TestReviveMayfly: a server that is killed the moment its first client has
// connected. It is the next life that answers.
func TestReviveMayfly(t *testing.T) {
	t.Parallel()
	for name, s := range mayflies(t, "dies") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 10 {
				i := launchAt(t, s.dir, launch{flags: []string{"--revive"}, argv: s.argv()})
				// Without a pause: whoever comes first is there before hupt can look.
				c, err := s.dial()
				for end := time.Now().Add(patience); err != nil; c, err = s.dial() {
					if time.Now().After(end) {
						t.Fatalf("%v\n%s", err, i.tail())
					}
				}
				if err := ask(c); err != nil {
					t.Errorf("whoever waited in the queue of the first life: %v\n%s", err, i.tail())
				}
				c.Close()
				if _, err := os.Stat(filepath.Join(s.dir, "begun")); err != nil {
					t.Error("there was no first life")
				}
				i.signal(unix.SIGTERM)
				i.exitCode()
				os.Remove(filepath.Join(s.dir, "begun"))
				os.Remove(s.socket)
			}
		})
	}
}

// TestReviveListensAgain: what hupt holds for a revival is not in the way of a
// program that closes its listener and binds it anew, in any of its lives.
func TestReviveListensAgain(t *testing.T) {
	t.Parallel()
	for _, pool := range []string{"", "--multi=1", "--multi=2"} {
		for name, s := range mayflies(t, "again") {
			if pool == "--multi=2" && strings.HasPrefix(s.socket, "/") {
				continue // two that unlink and bind one path at once are in each other's way
			}
			faults := ""
			if name == "abstract" && pool == "" {
				// It takes as long as several looks of hupt's, and is between two of its
				// sockets at most of them.
				name, faults = name+"-slow", "stop=~50ms"
			}
			t.Run(name+pool, func(t *testing.T) {
				t.Parallel()
				i := launchAt(t, s.dir, launch{flags: strings.Fields("--revive " + pool), argv: s.argv(), faults: faults})
				s.awaitAnswer()
				for range 3 {
					dead := i.serving().PID
					unix.Kill(dead, unix.SIGKILL)
					await(t, "the next life", func() bool {
						st := i.status()
						return len(st.Generations) == max(1, st.Processes) && !slices.ContainsFunc(st.Generations,
							func(g supervisor.GenerationStatus) bool { return g.PID == dead || g.State != "serving" })
					})
					if who, err := s.answer(); err != nil || who.pid == dead {
						t.Errorf("%v, %v", who, err)
					}
				}
				if i.says("bind: ") > 0 {
					t.Errorf("it could not bind again\n%s", i.tail())
				}
			})
		}
	}
}

// TestReviveSlowly: whoever connects in the pause waits as long as the next life
// takes to begin, however long hupt finds that nobody has the socket.
func TestReviveSlowly(t *testing.T) {
	t.Parallel()
	for name, s := range mayflies(t, "slow") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := start(s, "--revive")
			dead := i.serving().PID
			unix.Kill(dead, unix.SIGKILL)
			await(t, "the next life", func() bool { return i.says("starting generation 2") > 0 })
			c, err := s.dial()
			if err == nil {
				defer c.Close()
				err = ask(c)
			}
			if err != nil {
				t.Errorf("whoever came in the pause: %v\n%s", err, i.tail())
			}
		})
	}
}

// TestReviveRenames: a server that renames its socket's path while it listens is
// restarted and revived.
func TestReviveRenames(t *testing.T) {
	t.Parallel()
	s := unixSite(t, c("renames", "threads", "rename=2"), filepath.Join(tempDir(t), "socket"))
	i := start(s, "--revive")
	run := begin(t, paced(s))
	for n := range 3 {
		version := fmt.Sprintf("v%d", n+1)
		s.deploy(version)
		i.restart("--wait-drained")
		if who, err := s.answer(); err != nil || who.version != version {
			t.Errorf("%v, %v", who, err)
		}
	}
	noneFailed(t, "renamed while it listens", run.Stop())
	for range 3 {
		dead := i.serving().PID
		unix.Kill(dead, unix.SIGKILL)
		if who := s.awaitAnswer(); who.pid == dead {
			t.Errorf("%v", who)
		}
	}
}
