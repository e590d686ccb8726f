package main

import (
	"fmt"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/control"
	"hupt/supervisor"
)

// duration is a flag like 1.5s, 2m or a plain number of seconds.
type duration time.Duration

// UnmarshalText is encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if seconds, numErr := strconv.ParseFloat(string(text), 64); numErr == nil {
		parsed, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil {
		return fmt.Errorf("%q is not a duration like 10s, 1.5m or 90", text)
	}
	*d = duration(parsed)
	return nil
}

// deadline is a duration that may be "never", which is negative.
type deadline time.Duration

// UnmarshalText is encoding.TextUnmarshaler.
func (d *deadline) UnmarshalText(text []byte) error {
	if string(text) == "never" {
		*d = -1
		return nil
	}
	return (*duration)(d).UnmarshalText(text)
}

// signal is a flag like TERM, SIGTERM or 15.
type signal syscall.Signal

// UnmarshalText is encoding.TextUnmarshaler.
func (s *signal) UnmarshalText(text []byte) error {
	name := strings.ToUpper(string(text))
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > 64 {
			return fmt.Errorf("there is no signal %d", n)
		}
		*s = signal(n)
		return nil
	}
	n := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG"))
	if n == 0 {
		return fmt.Errorf("there is no signal %q; name one like TERM", text)
	}
	*s = signal(n)
	return nil
}

// restartSignal is a signal, or "none", which is 0.
type restartSignal signal

// UnmarshalText is encoding.TextUnmarshaler.
func (s *restartSignal) UnmarshalText(text []byte) error {
	if strings.EqualFold(string(text), "none") {
		*s = 0
		return nil
	}
	if err := (*signal)(s).UnmarshalText(text); err != nil {
		return err
	}
	switch n := syscall.Signal(*s); n {
	case unix.SIGKILL, unix.SIGSTOP:
		return fmt.Errorf("%s can't be caught", unix.SignalName(n))
	case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
		return fmt.Errorf("%s stops the program", unix.SignalName(n))
	case unix.SIGUSR2:
		return fmt.Errorf("SIGUSR2 ends a drain")
	case unix.SIGCHLD, unix.SIGTRAP, unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGFPE:
		return fmt.Errorf("%s is the kernel's to send", unix.SignalName(n))
	}
	return nil
}

// readiness is a flag like accept, notify, delay:2s, cmd:…, or a URL.
type readiness supervisor.Ready

// UnmarshalText is encoding.TextUnmarshaler.
func (r *readiness) UnmarshalText(text []byte) error {
	kind, rest, _ := strings.Cut(string(text), ":")
	switch kind {
	case "accept", "notify":
		if string(text) != kind {
			return fmt.Errorf("%s takes no more: %q", kind, text)
		}
		*r = readiness{Kind: supervisor.ReadyKind(kind)}
		return nil
	case "delay":
		var d duration
		if err := d.UnmarshalText([]byte(rest)); err != nil {
			return err
		}
		if d < 0 {
			return fmt.Errorf("%q is negative", rest)
		}
		*r = readiness{Kind: supervisor.ReadyDelay, Delay: time.Duration(d)}
		return nil
	case "cmd":
		if strings.TrimSpace(rest) == "" {
			return fmt.Errorf("cmd: wants a command")
		}
		*r = readiness{Kind: supervisor.ReadyCommand, Command: rest}
		return nil
	case "http", "https":
		where := string(text)
		if strings.HasPrefix(rest, "http://") || strings.HasPrefix(rest, "https://") {
			where = rest // http:URL
		}
		u, err := url.Parse(where)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%q is not a URL like http://127.0.0.1:8080/health", where)
		}
		*r = readiness{Kind: supervisor.ReadyHTTP, URL: where}
		return nil
	}
	return fmt.Errorf("%q is none of accept, notify, delay:TIME, cmd:COMMAND and http:URL", text)
}

// runtimeDir is the flag that says where control sockets are.
type runtimeDir struct {
	RuntimeDir string `help:"Directory of the control sockets." env:"HUPT_RUNTIME_DIR" placeholder:"DIR"`
}

// whose is the flags that say which instances a command is about.
type whose struct {
	runtimeDir
	User string `help:"For root: the instances of this user, by name or uid. Without it, only root's own are meant by a name, by a program, or by nothing." placeholder:"USER"`
}

// uid is the user whose instances are meant.
func (w whose) uid() (int, error) {
	self := os.Getuid()
	if w.User == "" {
		return self, nil
	}
	uid, err := strconv.ParseUint(w.User, 10, 31)
	if err != nil {
		u, err := user.Lookup(w.User)
		if err != nil {
			return 0, usagef("--user: there is no user %q", w.User)
		}
		if uid, err = strconv.ParseUint(u.Uid, 10, 31); err != nil {
			return 0, usagef("--user: %s has the uid %q", w.User, u.Uid)
		}
	}
	if int(uid) != self && self != 0 {
		return 0, fmt.Errorf("%w: only root acts on the instances of uid %d", control.ErrForeign, uid)
	}
	return int(uid), nil
}

// order is whether the new version starts beside the old one or after it.
type order supervisor.Mode

// UnmarshalText is encoding.TextUnmarshaler.
func (o *order) UnmarshalText(text []byte) error {
	switch m := supervisor.Mode(text); m {
	case supervisor.StartFirst, supervisor.StopFirst:
		*o = order(m)
		return nil
	}
	return fmt.Errorf("%q is neither start-first nor stop-first", text)
}

// modeFlags say in which order a restart goes about things.
type modeFlags struct {
	Order order `help:"Whether the new version starts beside the old one (start-first) or when that has gone (stop-first), while connections wait." xor:"mode" placeholder:"ORDER"`
	Exec  bool  `help:"The program keeps its pid: when it has drained, its process executes the new version." xor:"mode"`
}

// moveFlags say which of the addresses of the version before a new one must take over.
type moveFlags struct {
	MayMove       bool `help:"A new version need not take over any address of the one before." xor:"addresses"`
	KeepAddresses bool `help:"It must take over all of them, not just one." xor:"addresses"`
}

// mode is what was asked for; empty: nothing.
func (f modeFlags) mode() supervisor.Mode {
	if f.Exec {
		return supervisor.Exec
	}
	return supervisor.Mode(f.Order)
}
