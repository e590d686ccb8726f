package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// trapRestarts is enough for a race of tenths to be hit.
var trapRestarts = max(few(3), scale(10))

// TestTraps: programs that are hard on a tracer, see testdata/c/traps.c, are
// restarted under load like any other.
func TestTraps(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"clone", "fork", "vfork", "signals", "exec", "leaderless",
		"closefrom", "fewfds", "nofds", "nostack", "sandbox", "dropped", "daemon"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c("trap-"+model, "traps", "model="+model))
			s.v.tag, s.v.check = bodyTag, checkBody
			i := start(s)
			run := begin(t, paced(s))
			if model == "sandbox" && os.Getuid() != 0 {
				refused(t, i, s)
				noneFailed(t, model, run.Stop())
				return
			}
			seen := newLineage(i)
			for n := 1; n <= trapRestarts; n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				run.SetPhase(version)
				i.restart()
				run.SetPhase("")
				// One that is always full, and may not have more, is quiesced
				// between two connections, whenever that is.
				if model != "nofds" {
					seen.isNew(s, version)
				}
			}
			noneFailed(t, fmt.Sprintf("%s, %d restarts", model, trapRestarts), run.Stop())
			await(t, "all old generations are gone", func() bool { return len(i.status().Generations) == 1 })
			if out := i.tail(); strings.Contains(out, "of ours failed") {
				t.Errorf("the program's own children suffered:\n%s", out)
			}
			if model == "daemon" {
				leaves(t, i)
			}
		})
	}
}

// refused shows that a program with a seccomp filter of its own, which only
// CAP_SYS_ADMIN may set aside, is not harmed by a restart that can't be.
func refused(t *testing.T, i *instance, s *site) {
	t.Helper()
	s.deploy("v1")
	out, code := i.hupt("restart")
	if code == 0 || !strings.Contains(out, "seccomp filter of its own") {
		t.Errorf("exit code %d, without the reason:\n%s", code, out)
	}
	if who, err := s.answer(); err != nil || who.version != "v0" {
		t.Errorf("%v answers, not v0: %v", who, err)
	}
}

// leaves kills a daemon by its pid: hupt ends, for nothing is left.
func leaves(t *testing.T, i *instance) {
	t.Helper()
	for _, pid := range i.serving().PIDs {
		if p, err := os.FindProcess(pid); err == nil {
			p.Kill()
		}
	}
	if !i.waitEnd(patience) {
		t.Error("hupt goes on after the last process of a daemon has ended")
	}
}

// TestRollbackOfTraps: the same programs hear again after a rollback.
func TestRollbackOfTraps(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"clone", "vfork", "signals", "leaderless", "fewfds", "sandbox", "dropped"} {
		if model == "sandbox" && os.Getuid() != 0 {
			continue // it is refused before the quiesce: see TestTraps
		}
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c("trap-"+model, "traps", "model="+model))
			s.v.tag, s.v.check = bodyTag, checkBody
			i := start(s)
			run := begin(t, paced(s))
			for n := range max(1, scale(2)) {
				rejects(t, i, s, run, bakedBad("dies:100", `exit.*\b4\b`), fmt.Sprintf("v%d", n+1))
			}
			noneFailed(t, model, run.Stop())
		})
	}
}

// TestInheritedSocket: a server that never binds, because whoever started
// hupt gave it a listening socket, is restarted on that socket.
func TestInheritedSocket(t *testing.T) {
	t.Parallel()
	s := newSite(t, c("inherited", "threads", "fd=3"))
	s.v.tag, s.v.check = bodyTag, checkBody
	l, err := net.Listen("tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	i := launchAt(t, s.dir, launch{argv: s.argv(), env: s.env(), inherit: []*os.File{file}})
	file.Close()
	l.Close()
	s.awaitAnswer()
	run := begin(t, paced(s))
	seen := newLineage(i)
	for n := 1; n <= trapRestarts; n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		i.restart()
		seen.isNew(s, version)
	}
	noneFailed(t, "an inherited socket", run.Stop())
}

// TestNewPorts: a version that changes its mind about ports gets the new one,
// keeps the one that stays, and loses the other with the old generation.
func TestNewPorts(t *testing.T) {
	t.Parallel()
	stays := newSite(t, c("stays", "threads"))
	goes, comes := *stays, *stays
	goes.port, comes.port = freePort(t), freePort(t)
	server := binary(t, "threads")
	script := func(second int) []byte {
		return fmt.Appendf(nil, "#!/bin/sh\n%s port=%d & %s port=%d & wait\n", server, stays.port, server, second)
	}
	for _, s := range []*site{stays, &goes, &comes} {
		s.v.tag, s.v.check = bodyTag, checkBody
	}
	stays.install(script(goes.port), 0o755)
	i := launchAt(t, stays.dir, launch{argv: []string{stays.program()}})
	stays.awaitAnswer()
	goes.awaitAnswer()
	run := begin(t, paced(stays))
	stays.install(script(comes.port), 0o755)
	i.restart("--wait-drained")
	noneFailed(t, "the port that stays", run.Stop())
	comes.awaitAnswer()
	await(t, "the port that was given up is closed", func() bool {
		conn, err := net.DialTimeout("tcp", goes.address(), patience)
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED)
	})
	stays.install(script(goes.port), 0o755)
	i.restart("--wait-drained")
	goes.awaitAnswer()
	stays.awaitAnswer()
}
