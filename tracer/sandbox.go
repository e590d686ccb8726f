package tracer

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// A program that put a seccomp filter on itself may be killed for the calls
// that hupt makes in it: a sandboxed server that only ever reads and writes
// does not expect to dup3. PTRACE_O_SUSPEND_SECCOMP (Linux 4.3, built with
// CONFIG_CHECKPOINT_RESTORE) sets filters aside for so long. It wants
// CAP_SYS_ADMIN and a tracer that has no filter itself; without it, such a
// program is better not touched than killed.

// suspendFilters sets the task's filters aside if it has more than hupt's.
func (i *injection) suspendFilters() error {
	if filters(i.k.tid) <= i.t.ownFilters(i.k.proc) {
		return nil
	}
	err := ptrace("PTRACE_SETOPTIONS", unix.PTRACE_SETOPTIONS, i.k.tid, 0, i.t.options|unix.PTRACE_O_SUSPEND_SECCOMP)
	if err != nil && !gone(err) {
		return fmt.Errorf("process %d has a seccomp filter of its own, and setting it aside wants CAP_SYS_ADMIN: %w", i.k.proc.pid, err)
	}
	i.suspended = err == nil
	return err
}

// ownFilters is how many filters process p has because of hupt.
func (t *Tracer) ownFilters(p *process) int {
	return t.filters + 1 + p.filters
}

func (i *injection) restoreFilters() {
	if i.suspended {
		ptrace("PTRACE_SETOPTIONS", unix.PTRACE_SETOPTIONS, i.k.tid, 0, i.t.options)
		i.suspended = false
	}
}

// filters is how many seccomp filters task tid has (proc_pid_status(5), Linux
// 5.9). hupt's own count for every program under it, plus the one of stage 2.
func filters(tid int) (n int) {
	eachStatus(tid, func(name, v string) {
		if name == "Seccomp_filters" {
			n, _ = strconv.Atoi(v)
		}
	})
	return n
}
