package tracer

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// isIn reports whether a process is in the group now.
func isIn(pid, group int) bool {
	at, err := unix.Getpgid(pid)
	return err == nil && (at == group || group == everybody)
}

// members are the processes of a group, zombies included, as the kernel counts
// them. It asks for each process of the machine, which is 0.2 µs for one.
func members(group int) (pids []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && isIn(pid, group) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// groupMeant is the group that a process of g means by a number. Where hupt leads its
// group, the program would without hupt, and the group would have its own
// number (`kill -- -$$`).
func (t *Tracer) groupMeant(g *Generation, number int) int {
	own := unix.Getpgrp()
	if number != g.Root || own != os.Getpid() || !isIn(g.Root, own) || len(members(number)) > 0 {
		return number
	}
	return own
}

// hasOthers reports whether a group has somebody in it whom a signal of generation g
// must not reach.
func (t *Tracer) hasOthers(g *Generation, group int) bool {
	if group == everybody || group == unix.Getpgrp() || group == int(t.bell.Load()) || t.helpers[group] != nil {
		return true
	}
	for pid, p := range t.procs {
		if p.gen != g && isIn(pid, group) {
			return true
		}
	}
	return false
}

// targets are the members of a group that a signal of task k's is for, but for those
// that have it already: by pid, the number that each has for k.
func (t *Tracer) targets(k *task, group int, sent map[int]bool) map[int]int {
	out := make(map[int]int)
	depth := len(numbersOf(k.tid)) - 1
	for _, pid := range members(group) {
		if sent[pid] || group == everybody && (pid == 1 || pid == k.proc.pid) || t.isOthers(k.proc.gen, pid) {
			continue
		}
		number := pid
		if depth > 0 {
			n := numbersOf(pid)
			if len(n) <= depth {
				continue // it can't be named from where k is
			}
			number = n[depth]
		}
		out[pid] = number
	}
	return out
}

// forkLimit is how long a fork that had begun before a signal is waited for.
const forkLimit = 50 * time.Millisecond

// awaitForks returns when no process of g among those that were signalled is in a
// fork that began before. One that blocks the signal meanwhile, as the C library
// does, still bears its child, and does not pass the signal on. So each of its
// threads is to be seen once where it neither runs nor is waited for by the kernel.
func (t *Tracer) awaitForks(g *Generation, signalled map[int]bool) {
	var busy []int
	for pid := range signalled {
		if p := g.procs[pid]; p != nil {
			for tid := range p.tasks {
				busy = append(busy, tid)
			}
		}
	}
	for end := time.Now().Add(forkLimit); ; time.Sleep(200 * time.Microsecond) {
		busy = slices.DeleteFunc(busy, func(tid int) bool { return !strings.ContainsRune("RD", state(tid)) })
		if len(busy) == 0 || time.Now().After(end) {
			return
		}
	}
}

// state is the letter for what a task does now (proc_pid_stat(5)); 'X' if there is
// none.
func state(tid int) rune {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/stat")
	end := bytes.LastIndex(b, []byte(") "))
	if err != nil || end < 0 || end+2 >= len(b) {
		return 'X'
	}
	return rune(b[end+2])
}

// isOthers reports whether a process is hupt, a helper of hupt's, or of another
// generation than g.
func (t *Tracer) isOthers(g *Generation, pid int) bool {
	if p := t.procs[pid]; p != nil {
		return p.gen != g
	}
	if pid == os.Getpid() || pid == int(t.bell.Load()) {
		return true
	}
	if group, err := unix.Getpgid(pid); err == nil && t.helpers[group] != nil {
		return true
	}
	_, parent, tracer, err := kin(pid)
	if err != nil || tracer != os.Getpid() {
		return false // a stranger
	}
	// It was born just now, and its parent's stop has not been heard of yet.
	p := t.procs[parent]
	return p != nil && p.gen != g
}

// numbersOf are the ids of a task in each PID namespace that it is in, from that of
// /proc on (proc_pid_status(5), Linux 4.1).
func numbersOf(tid int) (n []int) {
	eachStatus(tid, func(name, v string) {
		if name == "NSpid" {
			for _, f := range strings.Fields(v) {
				id, _ := strconv.Atoi(f)
				n = append(n, id)
			}
		}
	})
	return n
}
