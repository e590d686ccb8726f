package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/internal/machine"
)

// TestEarlySignals: what comes before hupt is ready to do anything about it is
// neither lost nor fatal by default.
func TestEarlySignals(t *testing.T) {
	t.Parallel()
	const slow = 2 * time.Second
	begin := func(t *testing.T, sigs ...unix.Signal) (*instance, *site) {
		s := newSite(t, named("c-threads"))
		mark := filepath.Join(s.dir, "mark")
		i := launchAt(t, s.dir, launch{argv: s.argv(), faults: "start=mark?" + mark + " start=" + slow.String()})
		await(t, "it is hupt's own code that runs", func() bool { _, err := os.Stat(mark); return err == nil })
		for _, sig := range sigs {
			i.signal(sig)
			time.Sleep(10 * time.Millisecond) // else they are one by the kernel's rule
		}
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
	for name, sigs := range map[string][]unix.Signal{"TERM": {unix.SIGTERM}, "twice": {unix.SIGTERM, unix.SIGTERM}, "INT": {unix.SIGINT}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, _ := begin(t, sigs...)
			if !i.waitEnd(patience) {
				t.Fatal("it goes on")
			}
			if ws := i.cmd.ProcessState; ws.ExitCode() < 0 {
				t.Errorf("hupt itself was killed: %v", ws)
			}
		})
	}
}

// TestEarlyRestart: a restart that is asked for before the first version listens waits for it:
// beside one that listens on nothing, nobody could tell whether the new version serves.
func TestEarlyRestart(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--order=stop-first"}, {"--exec"}, {"--multi=2"}} {
		t.Run(strings.Trim(strings.Join(flags, ""), "-"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("python-http1.1"))
			slowly := func(version, then string) {
				text := fmt.Sprintf("import sys, time\nopen('begun', 'a').close()\ntime.sleep(3)\n%s\n", then)
				s.install(append([]byte(text), s.fill("py/threading_server.py", version)...), 0o644)
			}
			slowly("v1", "")
			i := launchAt(t, s.dir, launch{flags: flags, argv: s.argv(), env: s.env()})
			await(t, "the first version runs", func() bool { _, err := os.Stat(filepath.Join(s.dir, "begun")); return err == nil })
			slowly("v2", "sys.exit(9)")
			if out, code := i.hupt("restart"); code != 1 {
				t.Errorf("hupt restart to a version that never listens: exit code %d\n%s", code, out)
			}
			if len(flags) > 0 && flags[0] != "--multi=2" {
				return // what served before is a script that was overwritten
			}
			if who := s.awaitAnswer(); who.version != "v1" {
				t.Errorf("%s answers", who.version)
			}
		})
	}
	t.Run("HUP", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("python-http1.1"))
		slowly := append([]byte("import time\nopen('begun', 'a').close()\ntime.sleep(2)\n"), s.fill("py/threading_server.py", "v1")...)
		s.install(slowly, 0o644)
		i := launchAt(t, s.dir, launch{argv: s.argv(), env: s.env()})
		await(t, "the first version runs", func() bool { _, err := os.Stat(filepath.Join(s.dir, "begun")); return err == nil })
		time.Sleep(time.Second) // else it is about to be executed, and the signal says nothing
		s.deploy("v2")
		i.signal(unix.SIGHUP)
		await(t, "the new version", func() bool { who, err := s.answer(); return err == nil && who.version == "v2" })
		if i.says("generation 1 serves") == 0 {
			t.Error("the first version was not waited for")
		}
	})
	t.Run("never", func(t *testing.T) {
		t.Parallel()
		i := launchAt(t, t.TempDir(), launch{flags: []string{"--ready-timeout=30s"}, argv: []string{"/bin/sleep", "1000"}})
		await(t, "it runs", func() bool { return len(i.programs()) == 1 })
		began := time.Now()
		out, code := i.hupt("restart")
		if took := time.Since(began); code != 6 || !strings.Contains(out, "hupt: generation 1 listens on nothing yet") || took < 5*time.Second {
			t.Errorf("exit code %d after %v:\n%s", code, took, out)
		}
		await(t, "it is taken for one that never listens", func() bool { _, code := i.hupt("restart"); return code == 0 })
	})
	t.Run("UDP", func(t *testing.T) {
		t.Parallel()
		s := newUDPSite(t, udpVictims[1], "127.0.0.1")
		i := launchAt(t, s.dir, launch{argv: s.argv(), env: s.env()})
		await(t, "it runs", func() bool { return len(i.programs()) == 1 })
		began := time.Now()
		if out, code := i.hupt("restart"); code != 0 || time.Since(began) > machine.Patience(8*time.Second) {
			t.Errorf("exit code %d after %v:\n%s", code, time.Since(began), out)
		}
	})
}
