package control

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Pick chooses the one instance that target means: the pid of hupt or of any
// process under it, the --name given at run, or the path or the name of the
// program. An empty target means the only instance there is. Names, programs and
// nothing at all mean instances of user uid alone: anybody may run something
// under any name, and what is for one's own instance (a command, a secret in its
// environment) is not for theirs.
//
// Errors wrap ErrNoInstance, ErrNoProcess, ErrForeign, ErrSeveral or, if the
// one that is meant does not answer, ErrNoAnswer.
func Pick(instances []Instance, target string, uid int) (*Instance, error) {
	return picker{instances, "/proc", os.Getuid(), uid}.pick(target)
}

type picker struct {
	instances []Instance
	proc      procfs
	uid       int // who asks
	of        int // whose instances are meant
}

// mine reports whether what an instance says of itself is believed.
func (p picker) mine(i *Instance) bool { return i.UID == p.of }

func (p picker) pick(target string) (*Instance, error) {
	if target == "" {
		found := p.all(func(*Instance) bool { return true })
		switch {
		case len(p.instances) == 0:
			return nil, errorf(ErrNoInstance, "nothing runs under hupt; start something with: hupt run COMMAND")
		case len(found) == 0:
			return nil, errorf(ErrNoInstance, "nothing of uid %d runs under hupt; name another user's by --user or its pid%s", p.of, p.known())
		}
		return p.only("", found)
	}
	// A name may be a number too; a pid that runs under hupt comes first.
	pid, err := strconv.Atoi(target)
	isPID := err == nil && pid > 0
	if isPID {
		if found := p.byPID(pid); found != nil {
			return p.answering(found)
		}
	}
	for _, match := range []func(*Instance) bool{
		func(i *Instance) bool { return i.Status.Name == target },
		func(i *Instance) bool { return runsPath(i, target) },
		func(i *Instance) bool { return runsName(i, target) },
	} {
		if found := p.all(match); len(found) > 0 {
			return p.only(target, found)
		}
	}
	if isPID {
		return nil, p.noSuchPID(pid)
	}
	return nil, errorf(ErrNoInstance, "no instance has the name or the program %q%s", target, p.known())
}

// all are the instances that match.
func (p picker) all(match func(*Instance) bool) []*Instance {
	var found []*Instance
	for n := range p.instances {
		if i := &p.instances[n]; p.mine(i) && match(i) {
			found = append(found, i)
		}
	}
	return found
}

// only wants exactly one.
func (p picker) only(target string, found []*Instance) (*Instance, error) {
	if len(found) == 1 {
		return p.answering(found[0])
	}
	several := &SeveralError{Target: target}
	for _, i := range found {
		several.Instances = append(several.Instances, *i)
	}
	return nil, several
}

func (p picker) answering(i *Instance) (*Instance, error) {
	if i.Err != nil {
		return nil, i.Err
	}
	return i, nil
}

// byPID finds the instance that a process is of: hupt itself, or one that it
// told of in its status. A process that was born since, or whose hupt does
// not answer, is found by climbing to its parents. Another user's instance may
// say what it likes: there it must be hupt itself that the kernel says answered,
// or below it by /proc.
func (p picker) byPID(pid int) *Instance {
	for _, pid := range p.proc.orSelf(pid) {
		for n := range p.instances {
			switch i := &p.instances[n]; {
			case !p.mine(i):
				if pid == i.peerPID {
					return i
				}
			case i.PID == pid || runsPID(i, pid):
				return i
			}
		}
	}
	return nil
}

// orSelf is ancestors, with pid itself even if /proc does not show it.
func (p procfs) orSelf(pid int) []int {
	if pids := p.ancestors(pid); len(pids) > 0 {
		return pids
	}
	return []int{pid}
}

func runsPID(i *Instance, pid int) bool {
	for _, g := range i.Status.Generations {
		if g.PID == pid || slices.Contains(g.PIDs, pid) {
			return true
		}
	}
	return false
}

// runsPath reports whether target, with a slash in it, is the path of i's program.
func runsPath(i *Instance, target string) bool {
	if !strings.Contains(target, "/") || i.Status.Path == "" {
		return false
	}
	abs, err := filepath.Abs(target)
	if err != nil {
		return false
	}
	return abs == filepath.Clean(i.Status.Path) || resolved(abs) == resolved(i.Status.Path)
}

// resolved follows symlinks as far as they lead somewhere.
func resolved(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return path
}

// runsName reports whether target is the name of i's program, as it was typed
// or as it was found.
func runsName(i *Instance, target string) bool {
	if strings.Contains(target, "/") {
		return false
	}
	typed := len(i.Status.Command) > 0 && filepath.Base(i.Status.Command[0]) == target
	return typed || i.Status.Path != "" && filepath.Base(i.Status.Path) == target
}

// noSuchPID says what is wrong with a pid that is of no instance.
func (p picker) noSuchPID(pid int) error {
	process, alive := p.proc.read(pid)
	if !alive {
		return errorf(ErrNoProcess, "there is no process %d%s", pid, p.known())
	}
	if p.uid != 0 && process.uid != p.uid {
		return errorf(ErrForeign, "process %d (%s) belongs to uid %d: ask its user or root", pid, process.name, process.uid)
	}
	for _, above := range p.proc.ancestors(pid) {
		if p.proc.isHupt(above) {
			return lost(above)
		}
	}
	return errorf(ErrNoInstance, "process %d (%s) does not run under hupt%s", pid, process.name, p.known())
}

// lost says what to do about a hupt whose control socket is gone.
func lost(pid int) error {
	return errorf(ErrNoAnswer, "hupt %d has no control socket that can be found (another --runtime-dir?); kill -HUP %d restarts it, kill -TERM %d stops it", pid, pid, pid)
}

// Lost looks for a hupt of this user's when Find found none: its socket may
// have been removed. It gives nil, or an error that wraps ErrNoAnswer.
func Lost() error { return picker{nil, "/proc", os.Getuid(), os.Getuid()}.lost() }

func (p picker) lost() error {
	for _, pid := range p.proc.pids() {
		if process, ok := p.proc.read(pid); ok && process.uid == p.uid && p.proc.isHupt(pid) {
			return lost(pid)
		}
	}
	return nil
}

// known ends an error with what there is to choose from.
func (p picker) known() string {
	if len(p.instances) == 0 {
		return "; nothing runs under hupt"
	}
	names := make([]string, len(p.instances))
	for n := range p.instances {
		names[n] = p.instances[n].String()
	}
	return "; running: " + strings.Join(names, ", ")
}
