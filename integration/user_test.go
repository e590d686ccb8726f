package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// other is the user that these tests become: one without an entry.
const other = 65533

// asOther is the flags by which hupt becomes that user, who may bind ports below 1024.
var asOther = []string{"--user", fmt.Sprintf("%d:%d", other, other), "--ambient-caps", "net_bind_service"}

func rootOnly(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
}

// lowPort is freePort for one that only CAP_NET_BIND_SERVICE may bind.
func lowPort(t testing.TB) int {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 1000 {
		port := 200 + rand.IntN(824)
		if !given[port] && bindable("127.0.0.1", port) && bindable("::1", port) && reserve(port) {
			given[port] = true
			return port
		}
	}
	t.Fatal("no free port below 1024 found")
	return 0
}

// startOther runs a site's server as the other user, on a port below 1024.
func startOther(s *site, flags ...string) *instance {
	s.t.Helper()
	s.port = lowPort(s.t)
	s.deploy("v0") // some have it in their configuration
	i := launchAt(s.t, s.dir, launch{flags: append(asOther[:len(asOther):len(asOther)], flags...), argv: s.argv(), env: s.env(), uid: other})
	s.awaitAnswer()
	return i
}

// allOther fails the test unless hupt and all that is under it are the other user's, in
// every id, and hupt has its name.
func (i *instance) allOther() {
	i.t.Helper()
	pids := append(marked(i.mark, i.pid, i.dir), i.pid)
	for _, pid := range pids {
		for _, field := range []string{"Uid", "Gid"} {
			if ids := strings.Fields(statusField(pid, field)); len(ids) > 0 && strings.Join(ids, " ") != strings.TrimSpace(strings.Repeat(fmt.Sprintf("%d ", other), 4)) {
				i.t.Errorf("%s has the %s %v", describe(pid), field, ids)
			}
		}
	}
	if len(pids) < 3 {
		i.t.Errorf("only %v run", pids)
	}
	if name := statusField(i.pid, "Name"); !strings.HasPrefix(name, "hupt") {
		i.t.Errorf("hupt is called %q", name)
	}
}

// TestUser: hupt and its program run as another user, with a port below 1024, and
// are restarted under load in every mode, rolled back, and stopped; by root, who names
// the user, and by the user.
func TestUser(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	for _, flag := range append([]string{"--order=start-first"}, modeFlags...) {
		for _, name := range []string{"go", "c-threads", "nginx"} {
			t.Run(name+"/"+strings.TrimLeft(flag, "-"), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, named(name))
				if err := os.Chown(s.dir, other, other); err != nil { // nginx writes there
					t.Fatal(err)
				}
				i := startOther(s, flag, "--pidfile", filepath.Join(s.dir, "hupt.pid"))
				i.allOther()
				if pid := pidIn(filepath.Join(s.dir, "hupt.pid")); pid != i.pid {
					t.Errorf("the pidfile says %d, not %d", pid, i.pid)
				}
				run := begin(t, paced(s))
				for n := 1; n <= 2; n++ {
					version := fmt.Sprintf("v%d", n)
					s.deploy(version)
					i.restart()
					if who, err := s.answer(); err != nil || who.version != version {
						t.Errorf("%s answers, not %s: %v", who.version, version, err)
					}
				}
				i.allOther()
				if name != "nginx" {
					s.deployBad("exit:3")
					if out, code := i.hupt("restart"); code != 1 || !strings.Contains(out, "status 3") {
						t.Errorf("a bad version: exit code %d\n%s", code, out)
					}
				}
				if name == "nginx" {
					rotates(t, i, filepath.Join(s.dir, "error.log"))
				}
				s.deploy("v3")
				i.signal(unix.SIGHUP)
				await(t, "a restart by HUP", func() bool { return i.status().Restarts == 3 })
				noneFailed(t, name, run.Stop())
				if out, code := i.hupt("status"); code != 0 || !strings.Contains(out, fmt.Sprintf("of uid %d", other)) {
					t.Errorf("hupt status: exit code %d\n%s", code, out)
				}
				if out, code := i.hupt("stop"); code != 0 {
					t.Errorf("hupt stop: exit code %d\n%s", code, out)
				}
			})
		}
	}
}

// rotates: USR1, which hupt passes on, has nginx open its log anew, as that user.
func rotates(t *testing.T, i *instance, log string) {
	t.Helper()
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	i.signal(unix.SIGUSR1)
	var st unix.Stat_t
	await(t, "a new log", func() bool { return unix.Stat(log, &st) == nil })
	if st.Uid != other {
		t.Errorf("the new log is uid %d's", st.Uid)
	}
}

// TestUserPool: processes of a pool, one that answers datagrams, and one that is revived, as
// another user.
func TestUserPool(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	t.Run("pool", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("c-epoll-edge"))
		i := startOther(s, "--multi=2")
		i.serve(2)
		run := begin(t, paced(s))
		for n := 1; n <= 2; n++ {
			version := fmt.Sprintf("v%d", n)
			s.deploy(version)
			i.restart("--wait-drained")
			i.versions(s, i.serve(2), version)
		}
		if out, code := i.hupt("scale", "3"); code != 0 {
			t.Errorf("hupt scale: exit code %d\n%s", code, out)
		}
		i.serve(3)
		i.allOther()
		noneFailed(t, "a pool", run.Stop())
	})
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		s := newUDPSite(t, udpVictims[1], "127.0.0.1")
		s.port = lowPort(t) // what stands in for it in the old version is bound to it, too
		i := launchAt(t, s.dir, launch{flags: asOther, argv: s.argv(), env: s.env(), uid: other})
		s.awaitDatagram()
		d := sendDatagrams(t, s.address(), datagramRate)
		for n := 1; n <= 2; n++ {
			version := fmt.Sprintf("v%d", n)
			s.deploy(version)
			i.restart()
			if who := s.awaitDatagram(); who.version != version {
				t.Errorf("%s answers, not %s", who.version, version)
			}
		}
		d.judge("2 restarts")
		if i.says("warning") != i.says("no_new_privs had to be set") {
			t.Error(i.tail())
		}
		i.allOther()
	})
	t.Run("revive", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("c-threads"))
		i := startOther(s, "--revive")
		for n := range 3 {
			before := i.serving().PID
			if err := unix.Kill(before, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			await(t, fmt.Sprintf("life %d", n+2), func() bool {
				who, err := s.answer()
				return err == nil && who.pid != before
			})
			i.restart()
		}
		i.allOther()
	})
}

// TestUserEnds: signals, exit codes and hupt's own death are as without --user.
func TestUserEnds(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	for script, code := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			i := launchAt(t, tempDir(t), launch{flags: asOther, argv: []string{"/bin/sh", "-c", script}, uid: other})
			if got := i.exitCode(); got != code {
				t.Errorf("exit code %d, not %d\n%s", got, code, i.tail())
			}
		})
	}
	t.Run("TERM", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("go"))
		i := startOther(s)
		i.signal(unix.SIGTERM)
		if code := i.exitCode(); code != 143 {
			t.Errorf("exit code %d, not 143\n%s", code, i.tail())
		}
	})
	t.Run("kill", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("c-threads"))
		i := startOther(s)
		s.deploy("v1")
		i.restart("--wait-drained")
		serving := i.serving()
		i.kill()
		lives(t, i, s, serving.PID, serving.PIDs, "v1")
	})
	t.Run("terminal", func(t *testing.T) {
		t.Parallel()
		dir := tempDir(t)
		if err := os.Mkdir(dir+"/run", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir+"/run", other, other); err != nil {
			t.Fatal(err)
		}
		argv := onTerminal(t, dir)
		x := openTerminal(t, dir, append(append(argv[:2:2], asOther...), argv[2:]...)...)
		x.shows("terminals 111 foreground 1 ready")
		x.types("\x03")
		x.shows("interrupts")
		if x.wasShown("interrupts 1") != 1 {
			t.Error("one Ctrl-C did not reach the program exactly once")
		}
		select {
		case <-x.ended:
			if x.code != 11 {
				t.Errorf("hupt ends with %d, not 11 as the program", x.code)
			}
		case <-time.After(patience):
			t.Error("hupt does not end with the program")
		}
	})
}

// TestUserEarly: a signal that comes while hupt becomes somebody else is neither lost
// nor fatal by default.
func TestUserEarly(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	begin := func(t *testing.T, sig unix.Signal) (*instance, *site) {
		s := newSite(t, named("c-threads"))
		mark := filepath.Join(s.dir, "mark")
		i := launchAt(t, s.dir, launch{argv: s.argv(), flags: asOther, uid: other,
			faults: "become=mark?" + mark + " become=1s"})
		await(t, "it is about to become somebody else", func() bool { _, err := os.Stat(mark); return err == nil })
		i.signal(sig)
		return i, s
	}
	t.Run("HUP", func(t *testing.T) {
		t.Parallel()
		i, s := begin(t, unix.SIGHUP)
		s.awaitAnswer()
		if st := i.status(); st.Restarts != 0 || len(st.Generations) != 1 {
			t.Errorf("a restart of what was about to be started: %+v", st)
		}
	})
	t.Run("TERM", func(t *testing.T) {
		t.Parallel()
		i, _ := begin(t, unix.SIGTERM)
		if code := i.exitCode(); code != 143 || i.says("hupt: ended by SIGTERM before the program was started") != 1 || i.says("starting") > 0 {
			t.Errorf("exit code %d\n%s", code, i.tail())
		}
	})
}

// TestUserBackground: what --background writes is the user's, and what he may not write
// is refused in words.
func TestUserBackground(t *testing.T) {
	rootOnly(t)
	t.Parallel()
	s := newSite(t, named("go"))
	if err := os.Chown(s.dir, other, other); err != nil {
		t.Fatal(err)
	}
	s.port = lowPort(t)
	i, out, code := tryDaemon(s, launch{argv: s.argv(), flags: append(asOther[:len(asOther):len(asOther)], "--pidfile", "hupt.pid"), uid: other})
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	s.awaitAnswer()
	i.allOther()
	for _, name := range []string{"log", "hupt.pid"} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(s.dir, name), &st); err != nil || st.Uid != other || st.Gid != other {
			t.Errorf("%s is %d:%d's, %v", name, st.Uid, st.Gid, err)
		}
	}
	s.deploy("v1")
	i.restart()
	newLineage(i).isNew(s, "v1")

	roots := newSite(t, named("go"))
	if _, out, code := tryDaemon(roots, launch{argv: roots.argv(), flags: asOther}); code != 2 || !strings.HasPrefix(out, "hupt: --log: open ") || strings.Count(out, "\n") != 1 {
		t.Errorf("a log in root's directory: exit code %d\n%s", code, out)
	}
	refused := launchAt(t, roots.dir, launch{argv: roots.argv(), flags: append(asOther[:len(asOther):len(asOther)], "--pidfile", "hupt.pid"), uid: other})
	if code := refused.exitCode(); code != 2 || refused.says("hupt: the pidfile can't be written: ") != 1 {
		t.Errorf("a pidfile in root's directory: exit code %d\n%s", code, refused.tail())
	}
}
