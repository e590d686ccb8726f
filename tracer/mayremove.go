package tracer

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What hupt puts off for a task (an unlink, a rename over a path that others need)
// it makes later itself, and it may be root where the task is not. So it is put off
// only for a task that could have done it: write and search permission for the
// directory, and in one with the sticky bit the file or the directory must be its
// own (inode(7), unlink(2)). For all others the call is made as it stands, and the
// kernel says no. Lists of access (acl(5)) are not read: there, too, the kernel
// decides.

// credentials are those that count for files (credentials(7)), as hupt's user
// namespace sees them.
type credentials struct {
	uid, gid        uint32 // of the file system
	groups          []uint32
	override, owner bool // CAP_DAC_OVERRIDE, CAP_FOWNER, in hupt's own user namespace
}

func credentialsOf(tid int) (c credentials, ok bool) {
	var caps uint64
	err := eachStatus(tid, func(name, v string) {
		f := strings.Fields(v)
		switch {
		case name == "Uid" && len(f) == 4:
			c.uid, ok = parseID(f[3]), true
		case name == "Gid" && len(f) == 4:
			c.gid = parseID(f[3])
		case name == "Groups":
			for _, g := range f {
				c.groups = append(c.groups, parseID(g))
			}
		case name == "CapEff":
			caps, _ = strconv.ParseUint(v, 16, 64)
		}
	})
	if caps != 0 && sameNamespace(tid, "user") {
		c.override, c.owner = caps&(1<<unix.CAP_DAC_OVERRIDE) != 0, caps&(1<<unix.CAP_FOWNER) != 0
	}
	return c, ok && err == nil
}

// mayRemove reports whether task k may take away the name l. An ordinary user's
// hupt can do no more than that user anyway.
func (k *task) mayRemove(l lookup) bool {
	if os.Geteuid() != 0 {
		return true
	}
	c, ok := credentialsOf(k.tid)
	file, err := l.stat()
	if !ok || err != nil {
		return false
	}
	var dir unix.Stat_t
	if unix.Fstat(int(l.in.Fd()), &dir) != nil {
		return false
	}
	return c.mayRemove(dir, file.Uid)
}

func (c credentials) mayRemove(dir unix.Stat_t, owner uint32) bool {
	if dir.Mode&unix.S_ISVTX != 0 && !c.owner && c.uid != dir.Uid && c.uid != owner {
		return false
	}
	const writeAndSearch = 0o3
	bits := dir.Mode // of others
	switch {
	case c.override:
		return true
	case c.uid == dir.Uid:
		bits >>= 6
	case c.gid == dir.Gid || slices.Contains(c.groups, dir.Gid):
		bits >>= 3
	}
	return bits&writeAndSearch == writeAndSearch
}
