package doctor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// capSet are the effective capabilities and what else /proc/self/status tells
// of our rights.
type capSet struct {
	effective  uint64
	noNewPrivs bool
}

func capabilities() capSet {
	data, _ := os.ReadFile("/proc/self/status") // without it: none
	return parseCapabilities(string(data))
}

func parseCapabilities(status string) capSet {
	var c capSet
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "CapEff":
			c.effective, _ = strconv.ParseUint(value, 16, 64)
		case "NoNewPrivs":
			c.noNewPrivs = value == "1"
		}
	}
	return c
}

func (c capSet) has(capability uint) bool { return c.effective&(1<<capability) != 0 }

const addPtrace = "in a container add --cap-add SYS_PTRACE (Docker's and Podman's default profiles then allow it)"

func seccomp(p probe) Check {
	c := Check{Name: "seccomp", State: OK, Found: "a filter with SECCOMP_RET_TRACE loads and stops a call", Means: "bind() can be rewritten, and nothing else stops"}
	switch {
	case p.start != nil:
		return untried(c, p)
	case p.child.Filter != "":
		c.State, c.Found, c.Means = Fail, p.child.Filter, "hupt can't see the program's bind()"
		c.Do = "use a kernel with CONFIG_SECCOMP_FILTER, and a container profile that allows seccomp(2) and prctl(2)"
	case p.seize == nil && !p.sawSeccomp:
		c.State, c.Found = Fail, "a filter loads, but the call that it traps does not stop"
		c.Means, c.Do = "hupt can't rewrite the program's bind()", "run hupt outside of the sandbox that emulates this kernel (gVisor?)"
	case p.seize != nil:
		c.Found = "a filter with SECCOMP_RET_TRACE loads"
	}
	return c
}

func ptrace(p probe) Check {
	c := Check{Name: "ptrace", State: OK, Found: "SEIZE, INTERRUPT and GET_SYSCALL_INFO work", Means: "hupt can hand sockets to programs"}
	err := p.seize
	if err == nil {
		err = p.trace
	}
	switch {
	case p.start != nil:
		return untried(c, p)
	case err != nil:
		c.State, c.Found, c.Means = Fail, err.Error(), "hupt can't hold a program to hand it a socket"
		c.Do = "see yama below; " + addPtrace
	}
	return c
}

// yama judges kernel.yama.ptrace_scope; scope is -1 if there is no Yama.
// See Documentation/admin-guide/LSM/Yama.rst.
func yama(scope int, caps capSet) Check {
	c := Check{Name: "yama", State: OK, Found: fmt.Sprintf("ptrace_scope %d", scope)}
	switch scope {
	case -1:
		c.Found, c.Means = "not there", "ptrace is not restricted by it"
	case 0:
		c.Means = "ptrace is not restricted by it"
	case 1:
		c.Means = "only descendants may be traced: what runs under hupt is one"
	case 2:
		c.Means = "only CAP_SYS_PTRACE may trace, and hupt has it"
		if !caps.has(unix.CAP_SYS_PTRACE) {
			c.State, c.Means = Fail, "only CAP_SYS_PTRACE may trace, and hupt does not have it"
			c.Do = "run hupt as root, or: sysctl kernel.yama.ptrace_scope=1"
		}
	default:
		c.State, c.Means = Fail, "nobody may trace until the next boot"
		c.Do = "set kernel.yama.ptrace_scope=1 in /etc/sysctl.d and reboot"
	}
	return c
}

func pidfdGetfd(p probe) Check {
	c := Check{Name: "pidfd_getfd", State: OK, Found: "works on a child", Means: "hupt can take a duplicate of a program's listening socket"}
	switch {
	case p.start != nil:
		return untried(c, p)
	case p.getfd != nil:
		c.State, c.Found, c.Means = Fail, p.getfd.Error(), "hupt can't take a duplicate of a program's listening socket"
		c.Do = addPtrace
		if errors.Is(p.getfd, unix.ENOSYS) {
			c.Do = "use Linux 5.6 or newer, and a container profile that allows pidfd_open and pidfd_getfd"
		}
	}
	return c
}

func noNewPrivs(p probe, caps capSet) Check {
	c := Check{Name: "no_new_privs", State: OK, Found: "not needed", Means: "setuid programs and file capabilities work under hupt as without it"}
	switch {
	case p.start != nil:
		return untried(c, p)
	case caps.noNewPrivs:
		c.Found, c.Means = "set already", "whoever started hupt set it; nothing changes under hupt"
	case p.child.NeedsNoNewPrivs:
		c.State, c.Found = Warn, "needed, as CAP_SYS_ADMIN is absent"
		c.Means = "setuid programs (sudo, ping) and file capabilities gain nothing under hupt; all others are as without it"
		c.Do = "only if the program needs them: run hupt as root"
	}
	return c
}

// untried is for a check that needed the probe when it did not run.
func untried(c Check, p probe) Check {
	c.State, c.Found = Fail, "not tried: "+p.start.Error()
	c.Means, c.Do = "hupt can't start itself again, which it does for every launch", "mount /proc, and let hupt's own file be executable"
	return c
}
