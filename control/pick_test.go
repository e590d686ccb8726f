package control

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"hupt/supervisor"
)

func itoa(n int) string { return strconv.Itoa(n) }

// fakeProc writes a /proc with these processes.
func fakeProc(t *testing.T, processes map[int]process) procfs {
	t.Helper()
	root := t.TempDir()
	for pid, p := range processes {
		dir := mkdir(t, fmt.Sprintf("%s/%d", root, pid))
		status := fmt.Sprintf("Name:\t%s\nUmask:\t0022\nPPid:\t%d\nUid:\t%d\t0\t0\t0\nGroups:\t\n", p.name, p.parent, p.uid)
		os.WriteFile(dir+"/status", []byte(status), 0o600)
		if p.name == "hupt" {
			os.Symlink("/usr/bin/hupt (deleted)", dir+"/exe")
			os.WriteFile(dir+"/cmdline", []byte("hupt\x00run\x00x\x00"), 0o600)
		}
	}
	return procfs(root)
}

func TestPick(t *testing.T) {
	link := t.TempDir() + "/current"
	os.Symlink("/bin/sh", link)
	silent := errorf(ErrNoAnswer, "hupt 400 does not answer")
	p := picker{
		uid: 1000, of: 1000,
		proc: fakeProc(t, map[int]process{
			1:   {"init", 0, 0},
			100: {"hupt", 1, 1000}, 110: {"nginx", 100, 1000}, 111: {"nginx", 110, 33}, 112: {"new", 111, 33},
			500: {"bash", 1, 1000}, 501: {"mine", 500, 1000}, 502: {"theirs", 1, 7},
			600: {"hupt", 1, 1000}, 601: {"lost", 600, 1000},
		}),
		instances: []Instance{
			{PID: 100, UID: 1000, Status: supervisor.Status{Name: "web", Command: []string{"nginx", "-g", "x"}, Path: "/usr/sbin/nginx",
				Generations: []supervisor.GenerationStatus{{PID: 110, PIDs: []int{110, 111}}, {PIDs: []int{120}}}}},
			{PID: 200, UID: 1000, Status: supervisor.Status{Name: "777", Command: []string{"./api"}, Path: "/srv/v2/api"}},
			{PID: 300, UID: 1000, Status: supervisor.Status{Command: []string{"api"}, Path: link}},
			{PID: 400, UID: 1000, Err: silent},
		},
	}
	for _, c := range []struct {
		target string
		pid    int // 0: err
		err    error
		words  string
	}{
		{target: "100", pid: 100},
		{target: "110", pid: 100},
		{target: "111", pid: 100},
		{target: "112", pid: 100}, // born since: by its parents
		{target: "120", pid: 100}, // seen by hupt, hidden from us
		{target: "777", pid: 200}, // a name that is a number
		{target: "web", pid: 100},
		{target: "nginx", pid: 100},
		{target: "/usr/sbin/nginx", pid: 100},
		{target: "/usr/sbin/../sbin/nginx", pid: 100},
		{target: "/srv/v2/api", pid: 200},
		{target: link, pid: 300},
		{target: "/bin/sh", pid: 300}, // where the link leads
		{target: "api", err: ErrSeveral, words: `2 instances match "api", name one by its pid: 200 (777), 300 (api)`},
		{target: "", err: ErrSeveral, words: "several instances run, name one by its pid: 100 (web), 200 (777), 300 (api), 400"},
		{target: "400", err: ErrNoAnswer, words: "hupt 400 does not answer"},
		{target: "501", err: ErrNoInstance, words: "process 501 (mine) does not run under hupt; running: 100 (web)"},
		{target: "502", err: ErrForeign, words: "process 502 (theirs) belongs to uid 7"},
		{target: "601", err: ErrNoAnswer, words: "hupt 600 has no control socket"},
		{target: "600", err: ErrNoAnswer, words: "kill -HUP 600"},
		{target: "999", err: ErrNoProcess, words: "there is no process 999"},
		{target: "-1", err: ErrNoInstance, words: `"-1"`},
		{target: "nosuch", err: ErrNoInstance, words: `no instance has the name or the program "nosuch"; running: 100 (web)`},
		{target: "/no/such", err: ErrNoInstance},
	} {
		got, err := p.pick(c.target)
		switch {
		case c.err != nil:
			if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%q: got %v, want %v: %s", c.target, err, c.err, c.words)
			}
		case err != nil:
			t.Errorf("%q: %v", c.target, err)
		case got.PID != c.pid:
			t.Errorf("%q: got %d, want %d", c.target, got.PID, c.pid)
		}
	}
}

func TestPickTheOnlyOne(t *testing.T) {
	if _, err := Pick(nil, "", 7); !errors.Is(err, ErrNoInstance) {
		t.Errorf("none: %v", err)
	}
	got, err := Pick([]Instance{{PID: 5, UID: 7}}, "", 7)
	if err != nil || got.PID != 5 {
		t.Errorf("one: %v, %v", got, err)
	}
}

func TestLost(t *testing.T) {
	p := picker{uid: 1000, of: 1000, proc: fakeProc(t, map[int]process{5: {"bash", 1, 1000}, 40: {"hupt", 1, 7}})}
	if err := p.lost(); err != nil {
		t.Errorf("another's: %v", err)
	}
	p.uid = 7
	if err := p.lost(); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "hupt 40 has no control socket") {
		t.Errorf("got %v", err)
	}
}

// TestPickOfOthers: another user's instance may be called as it likes and claim
// what pids it likes. It is meant only if its user is named, or a pid that the
// kernel says is its own or below it.
func TestPickOfOthers(t *testing.T) {
	forged := Instance{PID: 40, UID: 7, peerPID: 40, Status: supervisor.Status{Name: "web", Command: []string{"nginx"}, Path: "/usr/sbin/nginx",
		Generations: []supervisor.GenerationStatus{{PID: 110, PIDs: []int{110, 41}}}}}
	proc := fakeProc(t, map[int]process{1: {"init", 0, 0}, 40: {"evil", 1, 7}, 41: {"child", 40, 7}, 110: {"nginx", 1, 0}})
	for _, c := range []struct {
		target string
		of     int
		pid    int // 0: refused
	}{
		{"web", 0, 0}, {"nginx", 0, 0}, {"/usr/sbin/nginx", 0, 0}, {"", 0, 0}, {"110", 0, 0},
		{"40", 0, 40}, {"41", 0, 40},
		{"web", 7, 40}, {"", 7, 40}, {"nginx", 7, 40},
	} {
		p := picker{instances: []Instance{forged}, proc: proc, uid: 0, of: c.of}
		got, err := p.pick(c.target)
		switch {
		case c.pid == 0 && err == nil:
			t.Errorf("%q of %d: got %d", c.target, c.of, got.PID)
		case c.pid != 0 && (err != nil || got.PID != c.pid):
			t.Errorf("%q of %d: %v, %v", c.target, c.of, got, err)
		}
	}
}
