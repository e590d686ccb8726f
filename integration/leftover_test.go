package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// becomeSubreaper makes orphans of this process's descendants its children.
func becomeSubreaper() {
	// Without it orphans go to init: they are found all the same.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// markName is the variable that tells which test a process belongs to.
const markName = "HUPT_TEST_MARK"

// marked returns the processes that a test has running, other than zombies:
// those that bear its mark in their environment, are in its process group, or
// run in or from its directory. A server may overwrite its environment to
// show a title, leave its group, or change its directory, but hardly all.
func marked(mark string, pgrp int, dir string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		state, group := statOf(pid)
		if state == "" || state == "Z" || state == "X" {
			continue
		}
		if group == pgrp && pgrp > 0 || within(pid, "cwd", dir) || within(pid, "exe", dir) || bears(pid, mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// statOf returns state and process group from /proc/PID/stat.
func statOf(pid int) (state string, pgrp int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	// The name in parentheses may hold anything, also parentheses.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 3 {
		return "", 0
	}
	pgrp, _ = strconv.Atoi(fields[2])
	return fields[0], pgrp
}

func within(pid int, link, dir string) bool {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, link))
	return err == nil && dir != "" && (path == dir || strings.HasPrefix(path, dir+string(filepath.Separator)))
}

func bears(pid int, mark string) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(env, []byte(markName+"="+mark))
}

// endAll kills processes, each by its pid, and waits until they have gone.
func endAll(pids []int) {
	for _, pid := range pids {
		unix.Kill(pid, unix.SIGKILL)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		alive := false
		for _, pid := range pids {
			reap(pid)
			if state, _ := statOf(pid); state != "" && state != "Z" {
				alive = true
			}
		}
		if !alive {
			return
		}
	}
}

// reap takes the end of a process that has become ours as its subreaper, but
// not of one that os/exec waits for: a pid may be another's by now.
func reap(pid int) {
	if state, _ := statOf(pid); state == "Z" && !ownChildren()[pid] {
		unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// reapOrphans takes the ends of the descendants of victims, which become ours
// when their parents end: by the hundred, they would make every look at /proc
// slow. Those that os/exec waits for are its own, however late it is.
func reapOrphans() {
	const moment = 2 * time.Second
	for before := []int(nil); ; time.Sleep(moment) {
		now := zombies(os.Getpid())
		var own map[int]bool // looked at after the zombies: who is among both is os/exec's
		for _, pid := range now {
			if !slices.Contains(before, pid) {
				continue
			}
			if own == nil {
				own = ownChildren()
			}
			if state, _ := statOf(pid); state == "Z" && !own[pid] {
				unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
		before = now
	}
}

// ownChildren are the processes that were started here and not yet waited for:
// os has a pidfd for each (pidfd_open(2) tells what its fdinfo holds).
func ownChildren() map[int]bool {
	own := make(map[int]bool)
	entries, _ := os.ReadDir("/proc/self/fdinfo")
	for _, e := range entries {
		text, _ := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "Pid:"); ok {
				if pid, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
					own[pid] = true
				}
			}
		}
	}
	return own
}

// zombies are the children of a process that nobody has waited for.
func zombies(parent int) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if state, _ := statOf(pid); state == "Z" && statusField(pid, "PPid") == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// describe says what a process is, for a message.
func describe(pid int) string {
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	state, pgrp := statOf(pid)
	wchan, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
	if len(cmdline) > 150 {
		cmdline = append(cmdline[:150:150], "…"...)
	}
	return fmt.Sprintf("pid %d (%s, state %s, group %d, in %s)", pid,
		bytes.TrimSpace(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})), state, pgrp, wchan)
}

// statusField returns a field of /proc/PID/status, "" if the process has gone.
func statusField(pid int, name string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
