package stage2

import (
	"encoding/gob"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hupt/seccomp"
)

// Requested reports whether this process was started to be stage 2 or the
// doorbell, rather than hupt.
func Requested() bool {
	return len(os.Args) > 0 && (os.Args[0] == Arg0 || os.Args[0] == DoorbellArg0)
}

// Main is the whole life of such a process. It does not return.
func Main() {
	if os.Args[0] == DoorbellArg0 {
		doorbell()
	}
	fd, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(125)
	}
	unix.CloseOnExec(fd)
	sock := os.NewFile(uintptr(fd), "launcher")
	sock.Write([]byte{Begun})
	var spec Spec
	if err := gob.NewDecoder(sock).Decode(&spec); err != nil {
		os.Exit(125) // hupt has gone: there is nobody to tell
	}
	enc := gob.NewEncoder(sock)
	r := spec.exec(func(r Reply) { enc.Encode(r) })
	enc.Encode(r)
	os.Exit(125)
}

func init() {
	if Requested() {
		// Locking in init keeps main on the process's first thread.
		runtime.LockOSThread()
	}
}

// exec becomes the program, or says why it could not.
func (s Spec) exec(ready func(Reply)) Reply {
	fail := func(step, path string, err error) Reply {
		var errno syscall.Errno
		errors.As(err, &errno)
		return Reply{Step: step, Path: path, Errno: int(errno), Message: err.Error()}
	}
	if s.Dir != "" {
		if err := os.Chdir(s.Dir); err != nil {
			return fail("chdir", s.Dir, err)
		}
	}
	if s.Stdin != nil {
		s.Stdin.replace()
	}
	path, err := s.File, error(nil)
	if path == "" {
		path, err = lookup(s.Command[0], s.Env)
	}
	if err != nil {
		return fail("lookup", path, err)
	}
	nnp, err := seccomp.Load(seccomp.Options{AllowIOUring: s.AllowIOUring, Paths: s.GuardPaths, Connects: s.Connects})
	if err != nil {
		return fail("seccomp", path, err)
	}
	ready(Reply{Path: path, NoNewPrivs: nnp})
	if err := s.Signals.Restore(); err != nil {
		return fail("signals", path, err)
	}
	// syscall.Exec, unlike a raw execve, gives back the soft RLIMIT_NOFILE
	// that Go's runtime raised at its start.
	env := s.Environ(os.Getpid())
	err = syscall.Exec(path, s.Command, env)
	if err == syscall.ENOEXEC {
		// A script without #! is the shell's, as with execvp(3).
		err = syscall.Exec("/bin/sh", append([]string{"sh", path}, s.Command[1:]...), env)
	}
	return fail("execve", path, err)
}

// Environ is the environment for process pid, which becomes the program, with
// it in place of hupt where systemd says whom something is for.
func (s Spec) Environ(pid int) []string {
	env := slices.Clone(s.Env)
	hupt, mine := strconv.Itoa(s.Launcher), strconv.Itoa(pid)
	for i, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID":
			if value == hupt {
				env[i] = name + "=" + mine
			}
		}
	}
	return env
}

// doorbell sleeps for ever. Its only use is that it is traced: a signal to it
// stops it, and the stop wakes the tracer's wait4, which nothing else does
// (Go's handlers are SA_RESTART). It dies with the tracer's thread.
func doorbell() {
	unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	_ = os.WriteFile("/proc/self/comm", []byte(DoorbellArg0), 0) // else it is "exe"
	// It needs no rights at all. Of this thread alone, since to reach others Go sends
	// signals, which the tracer takes.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	unix.Capset(&header, &none[0])
	for {
		unix.Pause()
	}
}
