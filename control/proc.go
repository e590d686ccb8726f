package control

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// procfs reads what little we need of /proc; tests give it another root.
type procfs string

func (p procfs) path(pid int, name string) string {
	return filepath.Join(string(p), strconv.Itoa(pid), name)
}

// process is what picking a target wants to know of a pid.
type process struct {
	name   string // of its program, at most 15 bytes
	parent int
	uid    int // the real one
}

// read gives ok false if there is no such process (or hidepid hides it).
// See proc_pid_status(5).
func (p procfs) read(pid int) (process, bool) {
	data, err := os.ReadFile(p.path(pid, "status"))
	if err != nil {
		return process{}, false
	}
	var out process
	found := false
	for line := range bytes.Lines(data) {
		key, value, _ := strings.Cut(string(line), ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		switch key {
		case "Name":
			out.name = strings.TrimSpace(value)
		case "PPid":
			out.parent, _ = strconv.Atoi(fields[0])
		case "Uid":
			out.uid, err = strconv.Atoi(fields[0])
			found = err == nil
		}
	}
	return out, found
}

// ancestors are pid and those above it, nearest first.
func (p procfs) ancestors(pid int) []int {
	var pids []int
	// The bound is for pids that come again while we climb.
	for ; pid > 0 && len(pids) < 1000; pid = p.parent(pid) {
		pids = append(pids, pid)
	}
	return pids
}

func (p procfs) parent(pid int) int {
	out, _ := p.read(pid)
	return out.parent
}

// pids are all processes that /proc shows.
func (p procfs) pids() []int {
	entries, _ := os.ReadDir(string(p)) // no /proc, no processes
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// isHupt reports whether a process is a `hupt run` by its program's name and
// its first argument. The link can't be read of other users' processes.
func (p procfs) isHupt(pid int) bool {
	exe, err := os.Readlink(p.path(pid, "exe"))
	if err != nil || filepath.Base(strings.TrimSuffix(exe, " (deleted)")) != "hupt" {
		return false
	}
	file, err := os.Open(p.path(pid, "cmdline"))
	if err != nil {
		return false
	}
	defer file.Close()
	// argv[0] may be as long as its owner likes.
	const longest = 8 << 10
	cmdline, _ := io.ReadAll(io.LimitReader(file, longest))
	args := strings.Split(string(cmdline), "\x00")
	return len(args) > 2 && args[1] == "run" // whole: another word follows
}
