package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hupt/control"
	"hupt/internal/fault"
	"hupt/internal/privilege"
	"hupt/stage2"
	"hupt/supervisor"
)

// privileges are the flags of `hupt run` that take rights away.
type privileges struct {
	User        identity                 `help:"Run hupt and the program as this user, with the user's groups: NAME, UID, NAME:GROUP or UID:GID." placeholder:"USER"`
	AmbientCaps []privilege.Capabilities `help:"With --user: capabilities that both have all the same, as net_bind_service for ports below 1024." placeholder:"CAP"`
	NoNewPrivs  bool                     `help:"Nothing under hupt gains rights by set-uid bits or file capabilities."`
	HookUser    identity                 `help:"Run hooks, and the command of --ready cmd:, as this user." placeholder:"USER"`
	Became      string                   `hidden:""`
}

// identity is a flag like www-data, 33, www-data:adm or 33:4.
type identity struct{ user *privilege.User }

// UnmarshalText is encoding.TextUnmarshaler.
func (i *identity) UnmarshalText(text []byte) error {
	u, err := privilege.Lookup(string(text))
	if err != nil {
		return err
	}
	i.user = &u
	return nil
}

func (p privileges) wanted() privilege.Wanted {
	w := privilege.Wanted{User: p.User.user, NoNewPrivs: p.NoNewPrivs}
	for _, c := range p.AmbientCaps {
		w.Ambient |= c
	}
	return w
}

// checkPrivileges looks for flags that mean nothing, and for what can't be done.
func (p privileges) checkPrivileges() error {
	switch {
	case len(p.AmbientCaps) > 0 && p.User.user == nil:
		return usagef("--ambient-caps is for --user; without it, the program has the capabilities that hupt was started with")
	case len(p.AmbientCaps) > 0 && p.User.user.UID == 0:
		return usagef("--ambient-caps is not for root, who has all capabilities")
	case p.HookUser.user != nil && p.User.user != nil:
		return usagef("--hook-user is for hooks of another user than hupt's; with --user, they are that user's already")
	case p.HookUser.user != nil:
		if err := p.HookUser.user.MayRunAs(); err != nil {
			return fmt.Errorf("--hook-user: %w", err)
		}
	}
	return nil
}

// become makes hupt what --user and --no-new-privs say, by executing itself anew,
// which all of its threads are then, with the same pid. It returns if there is nothing to
// do any more, or if it failed.
func (c *runCmd) become(line commandLine) error {
	w := c.wanted()
	switch {
	case w.Nothing():
		return nil
	case c.Became != "":
		// It was executed by the name "exe", and is to be found by its own.
		_ = os.WriteFile("/proc/self/comm", []byte(c.Became), 0)
		return w.Check()
	}
	if _, err := c.config(); err != nil {
		return err
	}
	exe, _ := os.Executable() // for words; another user may not be told
	name := "hupt"
	if comm, err := os.ReadFile("/proc/self/comm"); err == nil && len(comm) > 1 {
		name = strings.TrimSuffix(string(comm), "\n")
	}
	env := stage2.InheritedEnviron()
	if u := w.User; u != nil {
		env = u.Environ(env)
		// Where it fails, hupt has another place to go to, and says so if that is none.
		_ = control.Provide(c.RuntimeDir, u.UID, u.GID)
	}
	signals := stage2.InheritedSignals()
	fault.Point("become")
	if err := w.BeforeExec(); err != nil {
		return err
	}
	// Who may not read what he executes can't be traced, nor look at himself.
	const self = "/proc/self/exe"
	if err := unix.Faccessat(unix.AT_FDCWD, self, unix.R_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("%s may not read and execute %s: %w; chmod 755 it", orSelf(w.User), exe, err)
	}
	if err := signals.Restore(); err != nil {
		return err
	}
	if came := supervisor.EndEarly(syscall.Signal(c.RestartSignal)); len(came) > 0 {
		return &codeError{exitSignal + int(came[0]), fmt.Errorf("ended by %s before the program was started", unix.SignalName(came[0]))}
	}
	args := slices.Concat([]string{os.Args[0], line[0], "--became=" + name}, line[1:])
	if err := syscall.Exec(self, args, env); err != nil {
		return fmt.Errorf("%s can't execute %s: %w", orSelf(w.User), exe, err)
	}
	return errors.New("unreachable: execve returned")
}

func orSelf(u *privilege.User) string {
	if u == nil {
		return "hupt"
	}
	return u.String()
}
