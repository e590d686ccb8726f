package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hupt/generation"
)

// pidfile is a file that says who is to be asked. It is replaced by a rename,
// so that nobody ever reads half of it or finds it missing.
type pidfile struct {
	path    string // empty: none is kept
	written int    // the pid that is in it; 0: it was never written
}

// claim makes sure that the file can be written, and that it is not that of
// another instance, before anything is started.
func (p *pidfile) claim() error {
	if p.path == "" {
		return nil
	}
	if pid := readPid(p.path); pid > 0 && pid != os.Getpid() && isHupt(pid) {
		return badOptions("pidfile %s is that of hupt %d, which runs", p.path, pid)
	}
	tmp, err := p.create(0)
	if err != nil {
		return badOptions("the pidfile can't be written: %w", err)
	}
	os.Remove(tmp)
	if fi, err := os.Lstat(p.path); err == nil && fi.IsDir() {
		return badOptions("pidfile %s is a directory", p.path)
	}
	return nil
}

// create writes a pid into a file beside the pidfile.
func (p *pidfile) create(pid int) (tmp string, err error) {
	tmp = fmt.Sprintf("%s.hupt-%d", p.path, os.Getpid())
	os.Remove(tmp) // of a namesake that was killed
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintln(f, pid)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(tmp)
	}
	return tmp, err
}

// write makes the file say pid.
func (p *pidfile) write(pid int) error {
	if p.path == "" || p.written == pid {
		return nil
	}
	tmp, err := p.create(pid)
	if err == nil {
		err = os.Rename(tmp, p.path)
	}
	if err != nil {
		return fmt.Errorf("the pidfile can't be written: %w", err)
	}
	p.written = pid
	return nil
}

// remove takes the file away, unless somebody else wrote it since.
func (p *pidfile) remove() {
	if p.written != 0 && readPid(p.path) == p.written {
		os.Remove(p.path)
	}
	p.written = 0
}

// pidfileMax is how long a pidfile may be.
const pidfileMax = 64

// readPid is the pid in a file; 0: there is none. Where the program may write,
// anything may have the name: a link, a FIFO that nobody writes to, a device that
// never ends.
func readPid(path string) int {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > pidfileMax {
		return 0
	}
	b := make([]byte, pidfileMax)
	n, err := unix.Read(fd, b)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return max(pid, 0)
}

// isHupt reports whether a process lives and executes what this one does.
func isHupt(pid int) bool {
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	mine, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(theirs, mine)
}

// claimPidfiles is for the start, before the program's.
func (s *Supervisor) claimPidfiles() error {
	s.pidfile.path, s.programPidfile.path = s.cfg.Pidfile, s.cfg.ProgramPidfile
	if err := s.pidfile.claim(); err != nil {
		return err
	}
	if err := s.programPidfile.claim(); err != nil {
		return err
	}
	return s.pidfile.write(os.Getpid())
}

// writeProgramPidfile makes the program's pidfile name the generation that is
// ready, before the one before it is touched, and the one that serves, if that
// was resumed.
func (s *Supervisor) writeProgramPidfile() {
	if s.cfg.ProgramPidfile == "" {
		return
	}
	n := s.machine.Serving()
	for _, g := range s.machine.Gens() {
		if g.Phase == generation.Quiescing {
			n = g.Number
		}
	}
	if g := s.gens[n]; g != nil && g.main != 0 {
		if err := s.programPidfile.write(g.main); err != nil {
			s.warnOnce(err.Error())
		}
	}
}

// warnOnce warns of what may happen at every event, but is worth one line.
func (s *Supervisor) warnOnce(text string) {
	if s.warned == nil {
		s.warned = make(map[string]bool)
	}
	if !s.warned[text] {
		s.warned[text] = true
		s.publish(Event{Kind: EventWarning, Reason: text})
	}
}

// aside is a file that was moved away so that the next generation does not find
// it: its pidfile names a process that lives, say.
type aside struct {
	path  string
	saved string // where it was moved to; empty: there was none
	guard string // a second name of the file that is to stay; empty: none
}

// canMoveAside says what will keep a file from being moved away.
func canMoveAside(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.IsDir():
		return fmt.Errorf("%s is a directory, it can't be unlinked", path)
	}
	return nil
}

// moveAside moves files away for the launch of generation n. If one can't be
// moved, none is.
func moveAside(paths []string, n int) (moved []aside, err error) {
	for _, path := range paths {
		a := aside{path: path, saved: fmt.Sprintf("%s.hupt-%d-%d", path, os.Getpid(), n)}
		err := os.Rename(path, a.saved)
		if errors.Is(err, fs.ErrNotExist) {
			a.saved, err = "", nil
		}
		if err != nil {
			for _, m := range moved {
				m.putBack()
			}
			return nil, fmt.Errorf("unlink: %w", err)
		}
		moved = append(moved, a)
	}
	return moved, nil
}

// putBack gives the file its name again. What the new generation put there is
// gone.
func (a *aside) putBack() {
	if a.saved != "" {
		os.Rename(a.saved, a.path)
		a.saved = ""
	}
}

// decide ends the absence of the file: the new generation's stays, or the old
// one's comes back. A second name guards it, since whoever is to go may unlink
// it when it does.
func (a *aside) decide(ok bool) {
	if !ok && a.saved == "" {
		return
	}
	if !ok {
		a.putBack()
	} else if a.saved != "" {
		os.Remove(a.saved)
		a.saved = ""
	}
	guard := fmt.Sprintf("%s.hupt-%d", a.path, os.Getpid())
	os.Remove(guard)
	if os.Link(a.path, guard) == nil {
		a.guard = guard
	}
}

func (h *handover) decideAsides() {
	for i := range h.asides {
		h.asides[i].decide(h.ok)
	}
}

// over: whoever might have unlinked the file has gone. A new generation that
// was given up may also have written it anew.
func (a *aside) over(ok bool) {
	if a.guard == "" {
		return
	}
	there, err := os.Lstat(a.path)
	kept, e := os.Lstat(a.guard)
	if e == nil && (errors.Is(err, fs.ErrNotExist) || err == nil && !ok && !os.SameFile(there, kept)) {
		os.Rename(a.guard, a.path)
	} else {
		os.Remove(a.guard)
	}
	a.guard = ""
}
