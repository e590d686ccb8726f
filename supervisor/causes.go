package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/tracer"
)

// This file is what can be seen of why a new version failed, beyond what it did: who
// holds the address that it wanted, and whether a pidfile names a process that lives.

// trial is the restart that was asked for last.
type trial struct {
	number  int // of the new generation
	program *program
	mode    Mode
	busy    tracer.Name // the address that its last bind found in use; zero: none
	exited  bool        // it ended by itself
}

func (t *trial) callFailed(number int, n tracer.Note) {
	if number != t.number {
		return
	}
	t.busy = tracer.Name{}
	if n.Errno == unix.EADDRINUSE {
		t.busy = n.Name
	}
}

func (t *trial) ended(number int) { t.exited = t.exited || number == t.number }

// causesTime is how long it is looked for causes: the loop waits meanwhile.
const causesTime = 300 * time.Millisecond

// causes is for the end of a reason.
func (s *Supervisor) causes() string {
	t := s.trial
	s.trial = trial{}
	dir := t.program.dir
	if dir == "" {
		dir, _ = os.Getwd()
	}
	of := make(map[int]int) // which generation a process is of
	for _, g := range s.gens {
		if g.traced == nil {
			continue
		}
		for _, pid := range s.tracer.Pids(g.traced) {
			of[pid] = g.n
		}
	}
	found := make(chan string, 1)
	// Elsewhere: a file may be where nobody answers.
	go func() {
		text := ""
		if t.busy != (tracer.Name{}) {
			text += holder(t.busy, of, time.Now().Add(causesTime))
		}
		// In other modes, the old version has gone before.
		if t.exited && t.mode.policy() == StartFirst.policy() {
			text += pidfileOf(t.program.command, dir, of)
		}
		found <- text
	}()
	select {
	case text := <-found:
		return text
	case <-time.After(causesTime):
		return ""
	}
}

// describe is a process in words.
func describe(pid int, of map[int]int) string {
	text := fmt.Sprintf("process %d", pid)
	if comm, err := readSome(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		// It may have called itself anything.
		text += " (" + strings.Map(plain, strings.TrimSpace(comm)) + ")"
	}
	if n := of[pid]; n != 0 {
		text += fmt.Sprintf(" of generation %d", n)
	}
	return text
}

// plain shows what is no letter, digit, sign or space as a question mark.
func plain(r rune) rune {
	if r == utf8.RuneError || !strconv.IsPrint(r) {
		return '?'
	}
	return r
}

// readSome reads the beginning of a file.
func readSome(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, 64)
	n, err := f.Read(b)
	return string(b[:n]), err
}

// holder says who listens at an address, or is bound there. hupt's own duplicates are
// the program's.
func holder(at tracer.Name, of map[int]int, until time.Time) string {
	inodes := inTheWayOf(at)
	if len(inodes) == 0 {
		return ""
	}
	if pid := whoHas(inodes, until); pid != 0 {
		return fmt.Sprintf("; %s is held by %s", at, describe(pid, of))
	}
	return ""
}

// inTheWayOf is the sockets that keep a bind from an address.
func inTheWayOf(at tracer.Name) map[uint64]bool {
	var all []fdtable.Socket
	switch {
	case at.Family == unix.AF_UNIX:
		all, _ = fdtable.DumpUnix(fdtable.Listening | fdtable.Datagrams)
	case at.Address.Port() == 0:
		return nil
	case at.Datagram():
		all, _ = fdtable.DumpUDP(fdtable.Datagrams, at.Address.Port())
	default:
		all, _ = fdtable.Dump(fdtable.Listening, at.Address.Port())
	}
	inodes := make(map[uint64]bool)
	for _, k := range all {
		a, b := at.Address.Addr().Unmap(), k.Local.Addr().Unmap()
		switch {
		case at.Family == unix.AF_UNIX && k.Path == at.Path,
			at.Family != unix.AF_UNIX && k.Family != unix.AF_UNIX && (a == b || a.IsUnspecified() || b.IsUnspecified()):
			inodes[k.Inode] = true
		}
	}
	return inodes
}

// whoHas is a process other than hupt that has one of the sockets open; 0: none was found
// in time.
func whoHas(inodes map[uint64]bool, until time.Time) int {
	proc, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer proc.Close()
	for {
		names, err := proc.Readdirnames(256)
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil || pid == os.Getpid() {
				continue
			}
			if hasOpen(pid, inodes, until) {
				return pid
			}
			if time.Now().After(until) {
				return 0
			}
		}
		if err != nil {
			return 0
		}
	}
}

func hasOpen(pid int, inodes map[uint64]bool, until time.Time) bool {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return false
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			fd, _ := strconv.Atoi(name)
			if inode, ok := fdtable.SocketInode(pid, fd); ok && inodes[inode] {
				return true
			}
		}
		if err != nil || time.Now().After(until) {
			return false
		}
	}
}

// pidfileOf looks at the files that a command seems to be told as its pidfile.
func pidfileOf(command []string, dir string, of map[int]int) string {
	const most = 64
	before := ""
	for _, word := range command[1:min(len(command), most)] {
		name, path, ok := strings.Cut(word, "=")
		if !ok {
			name, path = before, word
		}
		before = word
		named := strings.Contains(name, "pid") && !strings.Contains(name, "/")
		if path == "" || strings.HasPrefix(path, "-") || !named && !strings.HasSuffix(path, ".pid") {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if pid := pidIn(path); pid > 1 && fdtable.Runs(pid) {
			return fmt.Sprintf("; %s names %s, which lives: see --unlink and --order stop-first", path, describe(pid, of))
		}
	}
	return ""
}

// pidIn is the number that a plain file begins with; 0: none.
func pidIn(path string) int {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0
	}
	text, err := readSome(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return 0
	}
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return 0
	}
	pid, _ := strconv.Atoi(fields[0])
	return pid
}
