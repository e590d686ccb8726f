// Package fdtable reads a process's sockets and epoll sets from the kernel's
// own tables, and plans how one file is swapped for another in them.
//
// It only reads: /proc and sock_diag are the truth. A shadow table fed by
// tracing dup, close, fork and SCM_RIGHTS would drift, and would cost a stop
// for each of them.
package fdtable

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
)

// FD is an open file descriptor of a process that is a socket or an epoll set.
type FD struct {
	Num         int
	Inode       uint64 // of a socket; 0 for an epoll set
	CloseOnExec bool
	NonBlock    bool
}

// Registration is one entry of an epoll set, as /proc/PID/fdinfo tells it
// (proc_pid_fdinfo(5); the inode since Linux 5.9).
type Registration struct {
	TargetFD int
	Events   uint32
	Data     uint64
	Inode    uint64
}

// Epoll is an epoll set of a process.
type Epoll struct {
	FD      int
	Entries []Registration
}

// Table is what of a process's descriptors matters to a restart.
type Table struct {
	Sockets []FD
	Epolls  []Epoll
}

// Sockets lists the descriptors of process pid that are sockets, by number,
// with their inodes. It reads a link for each descriptor (about 1 µs each).
func Sockets(pid int) (map[int]uint64, error) {
	m, _, err := links(pid)
	return m, err
}

// Open is the inodes of the sockets that some of the processes have open. One
// that has ended has none.
func Open(pids iter.Seq[int]) map[uint64]bool {
	open := make(map[uint64]bool)
	for pid := range pids {
		sockets, err := Sockets(pid)
		if err != nil {
			continue
		}
		for _, inode := range sockets {
			open[inode] = true
		}
	}
	return open
}

// Reader is the task of process pid by which its descriptors can be read: the
// process itself, or, when its first thread has ended (pthread_exit in main)
// and has no table any more, a thread that lives.
func Reader(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || !isZombie(b) {
		return pid
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return pid
	}
	for _, d := range tasks {
		tid, _ := strconv.Atoi(d.Name())
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid)); err == nil && !isZombie(b) {
			return tid
		}
	}
	return pid
}

// Ended reports whether task tid of process pid has ended, reaped or not.
func Ended(pid, tid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid))
	return err != nil || isZombie(b)
}

// Ending reports whether process pid has ended or is about to: none of its
// threads comes back to user space, and what it has open is being closed.
func Ending(pid int) bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return true
	}
	for _, d := range tasks {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, d.Name())); err == nil && !isExiting(b) {
			return false
		}
	}
	return true
}

// isExiting reads the flags, the seventh field behind the command's name.
// PF_EXITING is set before exit closes anything (kernel/exit.c, do_exit).
func isExiting(stat []byte) bool {
	const exiting = 0x4
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	return err == nil && flags&exiting != 0
}

// Runs reports whether process pid is there, and neither stopped, by a signal or a
// tracer, nor ended.
func Runs(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !isZombie(b) && state(b) != 'T' && state(b) != 't'
}

func isZombie(stat []byte) bool { return state(stat) == 'Z' || state(stat) == 'X' }

// state is the one behind the command's name, which may hold anything
// (proc_pid_stat(5)); 0: it is not there.
func state(stat []byte) byte {
	n := bytes.LastIndexByte(stat, ')')
	if n < 0 || n+2 >= len(stat) {
		return 0
	}
	return stat[n+2]
}

// links reads /proc/PID/fd once, for sockets and epoll sets.
func links(pid int) (sockets map[int]uint64, epolls []int, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", Reader(pid))
	d, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, nil, err
	}
	sockets = make(map[int]uint64)
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		link, err := os.Readlink(dir + "/" + name)
		if err != nil {
			continue // closed meanwhile
		}
		if inode, ok := socketInode(link); ok {
			sockets[n] = inode
		} else if link == "anon_inode:[eventpoll]" {
			epolls = append(epolls, n)
		}
	}
	return sockets, epolls, nil
}

func socketInode(link string) (uint64, bool) {
	s, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(s, "]"), 10, 64)
	return inode, err == nil
}

// SocketInode is the inode of the socket that descriptor fd of task tid is.
// It is false if fd is not open or is no socket.
func SocketInode(tid, fd int) (uint64, bool) {
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, fd))
	if err != nil {
		return 0, false
	}
	return socketInode(link)
}

// IsSocket reports whether descriptor fd of task tid is a socket.
func IsSocket(tid, fd int) bool {
	_, ok := SocketInode(tid, fd)
	return ok
}

// Read is the Table of process pid, with those sockets only whose inode want
// accepts, and all epoll sets.
func Read(pid int, want func(inode uint64) bool) (Table, error) {
	sockets, epolls, err := links(pid)
	if err != nil {
		return Table{}, err
	}
	pid = Reader(pid)
	var t Table
	for fd, inode := range sockets {
		if !want(inode) {
			continue
		}
		flags, err := Flags(pid, fd)
		if err != nil {
			continue
		}
		flags.Inode = inode
		t.Sockets = append(t.Sockets, flags)
	}
	for _, fd := range epolls {
		entries, err := Registrations(pid, fd)
		if err != nil {
			continue
		}
		t.Epolls = append(t.Epolls, Epoll{FD: fd, Entries: entries})
	}
	return t, nil
}

// Open-file flags as /proc/PID/fdinfo prints them, in octal.
const (
	flagNonBlock    = 0o4000
	flagCloseOnExec = 0o2000000
)

// Flags tells whether descriptor fd of task tid is closed on exec and does
// not block.
func Flags(tid, fd int) (FD, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", tid, fd))
	if err != nil {
		return FD{}, err
	}
	return parseFlags(fd, b)
}

func parseFlags(fd int, b []byte) (FD, error) {
	for line := range strings.Lines(string(b)) {
		v, ok := strings.CutPrefix(line, "flags:")
		if !ok {
			continue
		}
		f, err := strconv.ParseUint(strings.TrimSpace(v), 8, 64)
		if err != nil {
			return FD{}, fmt.Errorf("fdinfo of descriptor %d: %w", fd, err)
		}
		return FD{Num: fd, CloseOnExec: f&flagCloseOnExec != 0, NonBlock: f&flagNonBlock != 0}, nil
	}
	return FD{}, fmt.Errorf("fdinfo of descriptor %d has no flags", fd)
}

// Registrations lists the epoll set that descriptor epfd of task tid is. It is
// empty for anything else.
func Registrations(tid, epfd int) ([]Registration, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/fdinfo/%d", tid, epfd))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseRegistrations(file)
}

// parseRegistrations reads lines such as
//
//	tfd:        5 events:       19 data:                5  pos:0 ino:1a2b sdev:8
func parseRegistrations(file io.Reader) (out []Registration, err error) {
	s := bufio.NewScanner(file)
	for s.Scan() {
		f := strings.Fields(strings.ReplaceAll(s.Text(), ":", ": "))
		var r Registration
		var ok bool
		for i := 0; i+1 < len(f); i += 2 {
			switch f[i] {
			case "tfd:":
				n, err := strconv.Atoi(f[i+1])
				r.TargetFD, ok = n, err == nil
			case "events:":
				n, _ := strconv.ParseUint(f[i+1], 16, 32)
				r.Events = uint32(n)
			case "data:":
				r.Data, _ = strconv.ParseUint(f[i+1], 16, 64)
			case "ino:":
				r.Inode, _ = strconv.ParseUint(f[i+1], 16, 64)
			}
		}
		if ok {
			out = append(out, r)
		}
	}
	return out, s.Err()
}
