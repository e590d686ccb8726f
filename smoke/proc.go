package smoke

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// marker is the environment variable by which a run finds every process that
// its server ever started, however far that has wandered off.
const marker = "HUPT_SMOKE_RUN"

// stat reads what little we need of /proc/PID/stat.
func stat(pid int) (p Process, parent int, state byte, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, 0, 0, false
	}
	// The name stands in parentheses and may have any in it.
	open, shut := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || shut < open {
		return p, 0, 0, false
	}
	f := strings.Fields(string(data[shut+1:]))
	if len(f) < 20 {
		return p, 0, 0, false
	}
	parent, _ = strconv.Atoi(f[1])
	born, _ := strconv.ParseUint(f[19], 10, 64)
	return Process{PID: pid, Name: printable(string(data[open+1 : shut])), born: born}, parent, f[0][0], true
}

// alive says whether p itself, not a later process of its pid, lives.
func (p Process) alive() bool {
	now, _, state, ok := stat(p.PID)
	return ok && now.born == p.born && state != 'Z' && state != 'X'
}

// kill ends p, if it is still the same.
func (p Process) kill() {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if p.alive() { // looked at with the pidfd open: it can't be another's now
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

// marked returns the processes whose environment has the marker.
func marked(id string) []Process {
	want := []byte(marker + "=" + id + "\x00")
	var found []Process
	for _, pid := range pids() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !bytes.Contains(env, want) {
			continue
		}
		if p, _, state, ok := stat(pid); ok && state != 'Z' {
			found = append(found, p)
		}
	}
	return found
}

func pids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var list []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// descendants returns pid's children, theirs, and so on, as of now.
func descendants(pid int) []int {
	children := map[int][]int{}
	for _, p := range pids() {
		if _, parent, state, ok := stat(p); ok && state != 'Z' {
			children[parent] = append(children[parent], p)
		}
	}
	var found []int
	for next := children[pid]; len(next) > 0; {
		p := next[0]
		next = append(next[1:], children[p]...)
		found = append(found, p)
	}
	return found
}

// resources adds up what processes have.
func resources(pids []int) Resources {
	r := Resources{}
	for _, pid := range pids {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			continue
		}
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		if f := strings.Fields(string(statm)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			r.RSS += pages * int64(os.Getpagesize())
		}
		r.Processes++
		r.FDs += len(fds)
		r.OK = true
	}
	return r
}

// socketInodes returns the inodes of all sockets that processes have open, and
// who has them.
func socketInodes(pids []int) map[uint64][]int {
	found := map[uint64][]int{}
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		fds, _ := os.ReadDir(dir)
		for _, fd := range fds {
			link, err := os.Readlink(filepath.Join(dir, fd.Name()))
			if err != nil {
				continue
			}
			if rest, ok := strings.CutPrefix(link, "socket:["); ok {
				if inode, err := strconv.ParseUint(strings.TrimSuffix(rest, "]"), 10, 64); err == nil {
					found[inode] = append(found[inode], pid)
				}
			}
		}
	}
	return found
}

// program returns what a process runs: its executable, or for an interpreter
// still that; a script is known by its path in the command line.
func program(pid int) (exe string, args []string) {
	exe, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return exe, strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
}

// readsStdin says whether a thread of a process waits for its standard input: it
// is in read(0, …). It need not be the first one: Go's runtime, for example, moves
// a program that waits to another thread.
func readsStdin(pid int) bool {
	calls, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, file := range calls {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		f := strings.Fields(string(data))
		if len(f) > 1 && f[0] == strconv.Itoa(unix.SYS_READ) && f[1] == "0x0" {
			return true
		}
	}
	return false
}
