package supervisor

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestHangups(t *testing.T) {
	gone := func() int {
		cmd := exec.Command("true")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return cmd.Process.Pid
	}
	killall, another, shell := gone(), gone(), os.Getpid()
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	for !isOneShot(zombie.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
	defer zombie.Wait()
	now := time.Now()
	for _, c := range []struct {
		name   string
		first  int
		sender int
		after  time.Duration
		again  bool
	}{
		{"at once", killall, another, 90 * time.Millisecond, true},
		{"another one", killall, another, 110 * time.Millisecond, false},
		{"the same, heard late", killall, killall, 4 * time.Second, true},
		{"a pid that came again", killall, killall, 6 * time.Second, false},
		{"the same, not waited for yet", zombie.Process.Pid, zombie.Process.Pid, 4 * time.Second, true},
		{"the same shell", shell, shell, 110 * time.Millisecond, false},
		{"the same shell at once", shell, shell, 90 * time.Millisecond, true},
		{"to hupt, heard late", killall, 0, 240 * time.Millisecond, true},
		{"to hupt, later", killall, 0, 260 * time.Millisecond, false},
		{"to hupt first", 0, killall, 240 * time.Millisecond, true},
	} {
		var h hangups
		if h.again(c.first, now) {
			t.Errorf("%s: the first one belongs with another", c.name)
		}
		if got := h.again(c.sender, now.Add(c.after)); got != c.again {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	// Once its sender is known, the others of it are.
	var h hangups
	h.again(0, now)
	h.again(killall, now.Add(50*time.Millisecond))
	if !h.again(killall, now.Add(time.Second)) {
		t.Error("a late one of a killall that hupt heard first")
	}
}
