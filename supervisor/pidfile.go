package supervisor

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hupt/generation"
	"hupt/internal/named"
)

// pidfile is a file that says who is to be asked. It is replaced by a rename,
// so that nobody ever reads half of it or finds it missing.
type pidfile struct {
	file    *named.File // nil: none is kept
	written int         // the pid that is in it; 0: it was never written
}

// claim makes sure that the file at path can be written, and that it is not that of
// another instance, before anything is started. An empty path is none.
func (p *pidfile) claim(path string) error {
	if path == "" {
		return nil
	}
	file, err := named.At(path)
	if err != nil {
		return badOptions("the pidfile can't be written: %w", err)
	}
	p.file = file
	if pid := readPid(file); pid > 0 && pid != os.Getpid() && isHupt(pid) {
		return badOptions("pidfile %s is that of hupt %d, which runs", path, pid)
	}
	tmp, err := p.create(0)
	if err != nil {
		return badOptions("the pidfile can't be written: %w", err)
	}
	tmp.Remove()
	if file.IsDir() {
		return badOptions("pidfile %s is a directory", path)
	}
	return nil
}

// create writes a pid into a file beside the pidfile.
func (p *pidfile) create(pid int) (tmp *named.File, err error) {
	tmp = p.file.Beside(fmt.Sprintf(".hupt-%d", os.Getpid()))
	tmp.Remove() // of a namesake that was killed
	f, err := tmp.Open(os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintln(f, pid)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		tmp.Remove()
	}
	return tmp, err
}

// write makes the file say pid.
func (p *pidfile) write(pid int) error {
	if p.file == nil || p.written == pid {
		return nil
	}
	tmp, err := p.create(pid)
	if err == nil {
		err = tmp.Rename(p.file)
	}
	if err != nil {
		return fmt.Errorf("the pidfile can't be written: %w", err)
	}
	p.written = pid
	return nil
}

// remove takes the file away, unless somebody else wrote it since.
func (p *pidfile) remove() {
	if p.written != 0 && readPid(p.file) == p.written {
		p.file.Remove()
	}
	p.written = 0
}

// pidfileMax is how long a pidfile may be.
const pidfileMax = 64

// readPid is the pid in a file; 0: there is none. Where the program may write,
// anything may have the name: a link, a FIFO that nobody writes to, a device that
// never ends.
func readPid(file *named.File) int {
	f, err := file.Open(unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > pidfileMax {
		return 0
	}
	b := make([]byte, pidfileMax)
	n, err := f.Read(b)
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
	if err := s.pidfile.claim(s.cfg.Pidfile); err != nil {
		return err
	}
	if err := s.programPidfile.claim(s.cfg.ProgramPidfile); err != nil {
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
