package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// strangers is a program that leaves orphans, which end at once, in front of
// a server.
const strangers = `for n in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 & sleep 0.0$n & exit 0); done
exec "$@"`

// TestReapsOrphans: orphans of the program come to hupt, which reaps them and
// says nothing.
func TestReapsOrphans(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-threads"))
	i := launchAt(t, s.dir, launch{argv: append([]string{"/bin/sh", "-c", strangers, "sh"}, s.argv()...)})
	s.awaitAnswer()
	for n := 1; n <= few(3); n++ {
		s.deploy(fmt.Sprintf("v%d", n))
		i.restart("--wait-drained")
	}
	await(t, "hupt has one child, the program", func() bool { return len(childrenOf(i.pid)) <= 2 && len(zombiesOf(i.pid)) == 0 })
	if out := i.tail(); strings.Contains(out, "panic") || strings.Contains(out, "unknown") {
		t.Errorf("hupt speaks of strangers:\n%s", out)
	}
}

// TestPID1: hupt as the first process of a pid namespace, as in a container.
func TestPID1(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may make a pid namespace here")
	}
	s := newSite(t, named("c-threads"))
	i := launchAt(t, s.dir, launch{
		before: []string{installed(t, "unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"},
		argv:   append([]string{"/bin/sh", "-c", strangers, "sh"}, s.argv()...)})
	s.awaitAnswer()
	var hupt int
	await(t, "unshare has started hupt", func() bool {
		if children := childrenOf(i.pid); len(children) == 1 {
			hupt = children[0]
		}
		return hupt != 0
	})
	if ns := statusField(hupt, "NSpid"); !strings.HasSuffix(ns, "\t1") {
		t.Fatalf("hupt's pids are %q: it is not pid 1", ns)
	}
	run := begin(t, paced(s))
	for n := 1; n <= few(5); n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		// By signal: hupt restart is outside, where pids have other numbers.
		unix.Kill(hupt, unix.SIGHUP)
		await(t, version+" serves", func() bool { who, err := s.answer(); return err == nil && who.version == version })
		time.Sleep(time.Second) // its probation
		await(t, "no zombie is left", func() bool { return len(zombiesOf(hupt)) == 0 })
	}
	noneFailed(t, "hupt as pid 1", run.Stop())
	// TERM to a pid 1 is deadly only if it has a handler for it.
	unix.Kill(hupt, unix.SIGTERM)
	if code := i.exitCode(); code != 143 {
		t.Errorf("exit code %d, not 143", code)
	}
}

// childrenOf returns the children of a process, zombies too.
func childrenOf(pid int) (children []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		var child, parent int
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fmt.Sscan(string(text), &child)
		rest := string(text[strings.LastIndexByte(string(text), ')')+1:])
		var state string
		fmt.Sscan(rest, &state, &parent)
		if parent == pid {
			children = append(children, child)
		}
	}
	return children
}

// zombiesOf returns the children of a process that it has not reaped, after a
// moment for those that it is just reaping.
func zombiesOf(pid int) (zombies []int) {
	for range 10 {
		zombies = nil
		for _, child := range childrenOf(pid) {
			if state, _ := statOf(child); state == "Z" {
				zombies = append(zombies, child)
			}
		}
		if len(zombies) == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return zombies
}
