package privilege

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestLookup: names and ids, with and without entries.
func TestLookup(t *testing.T) {
	root, err := Lookup("root")
	if err != nil || root.UID != 0 || root.GID != 0 || root.Name != "root" || root.Home != "/root" || root.Groups[0] != 0 {
		t.Errorf("root is %+v, %v", root, err)
	}
	same, err := Lookup("0")
	if diff := cmp.Diff(root, same); err != nil || diff != "" {
		t.Errorf("0 is not root: %v\n%s", err, diff)
	}
	for text, want := range map[string]User{
		"4000000:7":    {UID: 4000000, GID: 7, Groups: []uint32{7}},
		"4294967294:0": {UID: 4294967294, GID: 0, Groups: []uint32{0}},
		"4000000:root": {UID: 4000000, GID: 0, Groups: []uint32{0}},
	} {
		got, err := Lookup(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	// Another group takes the place of the user's own.
	if u, err := Lookup("root:4000001"); err != nil || u.GID != 4000001 || u.Groups[0] != 4000001 || slices.Contains(u.Groups, 0) {
		t.Errorf("root:4000001 is %+v, %v", u, err)
	}
	for text, says := range map[string]string{
		"": "is not NAME", ":": "is not NAME", ":0": "is not NAME", "root:": "is not NAME",
		"nosuch-user": `no user "nosuch-user"`, "root:nosuch-group": `no group "nosuch-group"`,
		"4000000": "as 4000000:GID", "4294967295:0": "no uid 4294967295", "99999999999:0": "no uid", "0:4294967295": "no gid",
		"-1": "no user", "+0": "no user", "root:0:0": "no group",
	} {
		if u, err := Lookup(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is %+v, %v", text, u, err)
		}
	}
}

// TestGroups: as id(1) tells them, of everybody that there is.
func TestGroups(t *testing.T) {
	entries, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(entries)) {
		name, _, _ := strings.Cut(line, ":")
		out, err := exec.Command("id", "-G", name).Output()
		if err != nil {
			continue
		}
		var want []uint32
		for _, field := range strings.Fields(string(out)) {
			id, err := parseID(field)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, id)
		}
		u, err := Lookup(name)
		slices.Sort(want)
		got := slices.Sorted(slices.Values(u.Groups))
		if err != nil || !slices.Equal(got, slices.Compact(want)) || u.Groups[0] != u.GID {
			t.Errorf("%s: %v, %v, id says %v", name, u.Groups, err, want)
		}
	}
}

func TestEnviron(t *testing.T) {
	env := []string{"A=1", "HOME=/root", "USER=root", "HOMER=x", "LOGNAME=root", "A=2", "SHELL=/bin/bash", "USER=twice", "odd"}
	for _, c := range []struct {
		u    User
		want []string
	}{
		{User{Name: "w", Home: "/h", Shell: "/bin/sh"}, []string{"A=1", "HOMER=x", "A=2", "odd", "HOME=/h", "USER=w", "LOGNAME=w", "SHELL=/bin/sh"}},
		{User{Name: "w", Home: "/h"}, []string{"A=1", "HOMER=x", "A=2", "odd", "HOME=/h", "USER=w", "LOGNAME=w"}},
		{User{UID: 7}, []string{"A=1", "HOMER=x", "A=2", "odd", "HOME=/"}},
	} {
		if diff := cmp.Diff(c.want, c.u.Environ(env)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestCapabilities(t *testing.T) {
	var c Capabilities
	for _, text := range []string{"net_bind_service", "CAP_CHOWN,+Sys_Ptrace", "checkpoint_restore"} {
		if err := c.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
	}
	want := setOf(unix.CAP_CHOWN, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_PTRACE, unix.CAP_CHECKPOINT_RESTORE)
	if c != want || c.String() != "CAP_CHOWN, CAP_NET_BIND_SERVICE, CAP_SYS_PTRACE, CAP_CHECKPOINT_RESTORE" {
		t.Errorf("%v, not %v", c, want)
	}
	for _, bad := range []string{"", "nosuch", "chown,", "-chown", "10"} {
		if err := c.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is a capability", bad)
		}
	}
	if len(names) != unix.CAP_LAST_CAP+1 {
		t.Errorf("%d names, and the kernel's last is %d", len(names), unix.CAP_LAST_CAP)
	}
}

// TestSets: what is read is what /proc tells, and both halves get where they belong.
func TestSets(t *testing.T) {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ownSets()
	if err != nil {
		t.Fatal(err)
	}
	for field, set := range map[string]Capabilities{"CapEff": s.effective, "CapPrm": s.permitted, "CapInh": s.inheritable, "CapAmb": ambient()} {
		if !strings.Contains(string(status), fmt.Sprintf("%s:\t%016x\n", field, uint64(set))) {
			t.Errorf("%s is not %x in\n%s", field, uint64(set), status)
		}
	}
	data := threadSets{effective: 1<<40 | 2, permitted: 1<<40 | 1<<33 | 3, inheritable: 1 << 32}.data()
	want := [2]unix.CapUserData{{Effective: 2, Permitted: 3}, {Effective: 1 << 8, Permitted: 1<<8 | 2, Inheritable: 1}}
	if data != want {
		t.Errorf("%+v", data)
	}
}

// TestDropped: only who may look into everybody gives something up, and only the use
// of it.
func TestDropped(t *testing.T) {
	all := threadSets{effective: 1<<41 - 1, permitted: 1<<41 - 1, inheritable: 5}
	got := all.dropped()
	if got.permitted != all.permitted || got.inheritable != 5 || got.effective != needed {
		t.Errorf("%+v", got)
	}
	without := all
	without.effective &^= setOf(unix.CAP_SYS_PTRACE)
	if without.dropped() != without {
		t.Errorf("%+v", without.dropped())
	}
}

// TestMayRunAs: root may, others may not, in words.
func TestMayRunAs(t *testing.T) {
	err := User{UID: 7, GID: 7}.MayRunAs()
	if os.Getuid() == 0 && err != nil || os.Getuid() != 0 && (!errors.Is(err, ErrNotAllowed) || !strings.Contains(err.Error(), "uid 7")) {
		t.Error(err)
	}
}
