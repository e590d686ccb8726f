package integration

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStrangersGetNothing: root's program has a child of another user, which binds
// what the program has. It gets what the kernel would give it, and the program its
// sockets.
func TestStrangersGetNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	for _, kind := range []string{"tcp4", "tcp6", "udp", "reuseport", "path", "abstract"} {
		for _, flags := range [][]string{nil, {"--revive"}, {"--multi", "2"}} {
			t.Run(strings.Join(append([]string{kind}, flags...), " "), func(t *testing.T) {
				t.Parallel()
				s, i := foreign(t, kind, "8", flags...)
				processes := 1
				if len(flags) == 2 {
					processes = 2
				}
				await(t, "it serves", func() bool { return strings.Count(i.tail(), "owner v0: serves") == processes })
				s.deploy("v1")
				i.restart()
				out := i.tail()
				if strings.Contains(out, "got it") || strings.Count(out, "stranger v1: ") != processes || strings.Count(out, "owner v1: serves") != processes {
					t.Errorf("another user's child is not refused, or its parent is:\n%s", out)
				}
			})
		}
	}
}

// TestDroppedRights: a program that binds as root and becomes somebody else
// afterwards gets its sockets in its next version, which begins as root.
func TestDroppedRights(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	for _, kind := range []string{"tcp4", "udp", "path"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, i := foreign(t, kind, "1")
			await(t, "it serves", func() bool { return strings.Contains(i.tail(), "owner v0: serves") })
			for n := 1; n <= 2; n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				i.restart()
				if out := i.tail(); !strings.Contains(out, "owner "+version+": serves") {
					t.Errorf("%s does not serve:\n%s", version, out)
				}
			}
		})
	}
}

// TestFlood: a child of another user that listens on more than hupt holds of it, waits on
// none of it, and makes new ones all the time, holds no restart up and costs hupt
// a bounded number of descriptors.
func TestFlood(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	s := newSite(t, c("c-flood", "flood"))
	s.v.tag, s.v.check = bodyTag, checkBody
	i := start(s)
	floods := func(n int) {
		await(t, "the flood", func() bool { return i.says("flood v") == n && i.says("sockets") >= n })
	}
	floods(1)
	run := begin(t, paced(s))
	for n := 1; n <= 2; n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		i.restart()
		newLineage(i).isNew(s, version)
		floods(n + 1)
	}
	noneFailed(t, "a flood", run.Stop())
	await(t, "the old ones have gone", func() bool { return len(i.status().Generations) == 1 })
	if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.pid)); err != nil || len(fds) > 256+100 {
		t.Errorf("hupt has %d descriptors, %v", len(fds), err)
	}
	if i.says("are not handed over: of a user who is not the program's own") == 0 {
		t.Errorf("nobody is told:\n%s", i.tail())
	}
}

// TestTakeAway: a child of another user unlinks root's path, in a directory that is
// root's, and renames over it: it is told no, as bare, and the path leads to
// somebody who serves all the time.
func TestTakeAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	for _, mode := range []os.FileMode{0o755, 0o777 | os.ModeSticky} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c("c-takeaway", "takeaway"))
			s.v.tag, s.v.check = bodyTag, checkBody
			dir := s.dir + "/run.d"
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
			s.socket = dir + "/s"
			i := launchAt(t, s.dir, launch{argv: []string{s.program(), "path=" + s.socket}})
			s.awaitAnswer()
			run := begin(t, paced(s))
			for n := 1; n <= 3; n++ {
				s.deploy(fmt.Sprintf("v%d", n))
				i.restart("--wait-drained")
				time.Sleep(100 * time.Millisecond) // its child has tried
			}
			noneFailed(t, "takeaway", run.Stop())
			if out := i.tail(); strings.Contains(out, "unlink v") || strings.Contains(out, "rename v") {
				t.Errorf("another user's child took root's path away:\n%s", out)
			}
		})
	}
}

// TestRootsFiles: a child of another user tries to get at a file of root's, in a
// directory of root's, and at the program's path, by what hupt does for it. Nothing
// of root's changes, no call is allowed that is not bare, and the server serves.
func TestRootsFiles(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	for _, attack := range []string{"bind", "links", "namespace", "calls"} {
		t.Run(attack, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c("c-fsattack", "fsattack"))
			s.v.tag, s.v.check = bodyTag, checkBody
			own, dir := s.dir+"/own", s.dir+"/dir"
			for _, d := range []string{own, dir} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chown(own, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir+"/v", []byte("root's"), 0o600); err != nil {
				t.Fatal(err)
			}
			s.socket = dir + "/s"
			look := func() string {
				out := ""
				for _, path := range []string{dir, dir + "/v", dir + "/s"} {
					st, err := os.Lstat(path)
					if err != nil {
						return err.Error()
					}
					sys := st.Sys().(*syscall.Stat_t)
					out += fmt.Sprintf("%s %v %d:%d; ", path, st.Mode(), sys.Uid, sys.Gid)
				}
				return out
			}
			i := launchAt(t, s.dir, launch{argv: []string{s.program(), "model=" + attack, "path=" + s.socket}})
			s.awaitAnswer()
			before := look()
			run := begin(t, paced(s))
			for n := 0; n <= 1; n++ {
				version := fmt.Sprintf("v%d", n)
				if n > 0 {
					s.deploy(version)
					i.restart("--wait-drained")
				}
				await(t, version+" has tried", func() bool { return strings.Contains(i.tail(), "attack "+version+": made") })
			}
			noneFailed(t, attack, run.Stop())
			if after := look(); after != before {
				t.Errorf("it was\n%s\nand is\n%s", before, after)
			}
			if out := i.tail(); strings.Contains(out, "allowed v") {
				t.Errorf("another user's child was allowed what it is not bare:\n%s", out)
			}
		})
	}
}

// foreign starts the program in a network namespace of its own, on a port that is
// root's to bind.
func foreign(t *testing.T, kind, workers string, flags ...string) (*site, *instance) {
	t.Helper()
	s := newSite(t, c("c-rights", "rights"))
	s.port = 817
	argv := []string{s.program(), "model=" + kind, "port=817", "workers=" + workers, "path=" + s.dir + "/socket"}
	if kind == "path" {
		argv = append(argv, "unlink=before")
	}
	return s, launchAt(t, s.dir, launch{flags: flags, argv: argv,
		before: []string{installed(t, "unshare"), "--net"}})
}
