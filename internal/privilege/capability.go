package privilege

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Capabilities is a set of them, bit n for number n (capabilities(7)).
type Capabilities uint64

// names are those of capabilities(7) by their number, without CAP_.
var names = []string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
	"linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
	"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
	"sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
	"mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
	"checkpoint_restore",
}

// UnmarshalText is encoding.TextUnmarshaler: adds what is named, with commas between,
// as CAP_NET_BIND_SERVICE or net_bind_service; a + in front, as setpriv(1) wants it,
// changes nothing.
func (c *Capabilities) UnmarshalText(text []byte) error {
	for word := range strings.SplitSeq(string(text), ",") {
		name := strings.TrimPrefix(strings.ToLower(strings.TrimPrefix(strings.TrimSpace(word), "+")), "cap_")
		n := slices.Index(names, name)
		if n < 0 {
			return fmt.Errorf("there is no capability %q; name one like net_bind_service", word)
		}
		*c |= 1 << n
	}
	return nil
}

// String names them as capabilities(7) does.
func (c Capabilities) String() string {
	var out []string
	for n := range 64 {
		if c&(1<<n) == 0 {
			continue
		}
		name := fmt.Sprintf("CAP_%d", n)
		if n < len(names) {
			name = "CAP_" + strings.ToUpper(names[n])
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

func setOf(numbers ...uint) (c Capabilities) {
	for _, n := range numbers {
		c |= 1 << n
	}
	return c
}

// threadSets are the sets of a thread that capset(2) changes.
type threadSets struct {
	effective, permitted, inheritable Capabilities
}

var version3 = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}

// ownSets are those of the calling thread.
func ownSets() (s threadSets, err error) {
	header := version3
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return s, err
	}
	join := func(low, high uint32) Capabilities { return Capabilities(low) | Capabilities(high)<<32 }
	return threadSets{
		join(data[0].Effective, data[1].Effective), join(data[0].Permitted, data[1].Permitted), join(data[0].Inheritable, data[1].Inheritable),
	}, nil
}

func (s threadSets) data() (data [2]unix.CapUserData) {
	for i := range data {
		data[i] = unix.CapUserData{
			Effective: uint32(s.effective >> (32 * i)), Permitted: uint32(s.permitted >> (32 * i)), Inheritable: uint32(s.inheritable >> (32 * i)),
		}
	}
	return data
}

// set gives them to the calling thread alone.
func (s threadSets) set() error {
	header, data := version3, s.data()
	return unix.Capset(&header, &data[0])
}

// ambient are the capabilities that survive an execve of whoever is not root
// (Linux 4.3).
func ambient() (c Capabilities) {
	for n := range uintptr(64) {
		has, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, n, 0, 0)
		if err != nil {
			break // beyond what the kernel knows
		}
		if has == 1 {
			c |= 1 << n
		}
	}
	return c
}
