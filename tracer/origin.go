package tracer

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// origin is what a process inherits from hupt and keeps over execve(2), as it
// stands when the first generation begins: what a program finds that is
// executed in place of another one.
type origin struct {
	identity []fact
	limits   []unix.Rlimit // by resource
}

// fact is something about a process that an execve does not change, and that
// can't be given back to one that gave it up.
type fact struct{ what, value string }

// identityOf reads the facts of a process.
func identityOf(pid int) (out []fact) {
	words := map[string]string{"Uid": "its user", "Gid": "its group", "Groups": "its groups", "CapPrm": "its capabilities", "CapBnd": "its capabilities"}
	eachStatus(pid, func(name, v string) {
		if what := words[name]; what != "" {
			out = append(out, fact{what, v})
		}
	})
	root, _ := os.Readlink(fmt.Sprintf("/proc/%d/root", pid))
	out = append(out, fact{"its root directory", root})
	for _, ns := range []string{"mnt", "net", "pid", "user", "uts", "ipc", "cgroup"} {
		v, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
		out = append(out, fact{"its " + ns + " namespace", v})
	}
	return out
}

// rlimits is how many resources there are (getrlimit(2)).
const rlimits = 16

// noteOrigin is for the first program that is executed.
func (t *Tracer) noteOrigin(pid int) {
	if t.origin != nil {
		return
	}
	o := &origin{identity: identityOf(pid)}
	for r := range rlimits {
		var l unix.Rlimit
		if unix.Prlimit(pid, r, nil, &l) != nil {
			break
		}
		o.limits = append(o.limits, l)
	}
	t.origin = o
}

// CanExecute says why process pid of g can't execute a new program in its place
// as one that hupt starts would be, if it can't.
func (t *Tracer) CanExecute(g *Generation, pid int) (err error) {
	t.Do(func() {
		p := g.procs[pid]
		if p == nil {
			err = errGone
			return
		}
		if filters(fdtable.Reader(pid)) > t.ownFilters(p) {
			err = fmt.Errorf("process %d has a seccomp filter of its own, which would be the new program's, too", pid)
			return
		}
		now := identityOf(fdtable.Reader(pid))
		for i, f := range t.origin.identity {
			if i >= len(now) || now[i] == f {
				continue
			}
			err = fmt.Errorf("process %d has changed %s, which can't be undone for the new program", pid, f.what)
			return
		}
	})
	return err
}

// inheritedFDs are hupt's descriptors that a program inherits: those that hupt
// itself was given. Whatever is opened here is close-on-exec.
func inheritedFDs() (fds []int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return []int{0, 1, 2}
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

// umask is hupt's own (proc_pid_status(5)): to ask umask(2) is to change it.
func umask() uint64 {
	v := uint64(0o022)
	eachStatus(os.Getpid(), func(name, text string) {
		if name == "Umask" {
			if n, err := strconv.ParseUint(text, 8, 32); err == nil {
				v = n
			}
		}
	})
	return v
}
