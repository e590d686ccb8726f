package tracer

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestRoom: what is held of another user already counts at the next look, too, and
// the program's own user has no such bound.
func TestRoom(t *testing.T) {
	own := uint32(os.Geteuid())
	other := own + 4242
	g := &Generation{Root: os.Getpid(), full: true} // it was told
	var have []*Held
	for n := range 2 * mostOfOther {
		have = append(have, &Held{FD: n, owner: own})
	}
	for n := range mostOfOther - 1 {
		have = append(have, &Held{FD: n, owner: other})
	}
	r := (&Tracer{}).roomOf(g, append(have, &Held{FD: -1, owner: other}))
	for n, c := range []struct {
		owner uint32
		takes bool
	}{{own, true}, {other, true}, {other, false}, {own, true}, {other + 1, true}} {
		h := &Held{owner: c.owner}
		if got := r.take(h); got != c.takes || h.other != (c.owner != own) {
			t.Errorf("%d: one of user %d is taken: %v; another user's: %v", n, c.owner, got, h.other)
		}
	}
	r.left = 0
	if r.take(&Held{owner: own}) {
		t.Error("one is taken, and no descriptor is left")
	}
}

// TestOthersOfDaemon: of a program whose first process has ended, as a daemon's does,
// the oldest that is left says whose it is.
func TestOthersOfDaemon(t *testing.T) {
	needsRoot(t)
	g := &Generation{Root: 1 << 30, procs: map[int]*process{}, settled: true}
	for n, uid := range []uint32{stranger, stranger - 1} {
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		g.procs[cmd.Process.Pid] = &process{pid: cmd.Process.Pid, order: uint64(n + 1)}
	}
	for uid, want := range map[uint32]bool{0: false, stranger: false, stranger - 1: true, stranger - 2: true} {
		if got := isOther(g, uid); got != want {
			t.Errorf("user %d is another one: %v", uid, got)
		}
	}
	g.quiesced = true
	if isOther(g, stranger) || !isOther(g, stranger-1) {
		t.Error("whose it was is forgotten at its end")
	}
	g.user = 0
	if !isOther(g, stranger) {
		t.Error("who outlives a master is taken for one")
	}
}
