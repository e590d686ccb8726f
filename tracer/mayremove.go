package tracer

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What hupt puts off for a task (an unlink, a rename over a path that others need)
// is put off only for one that could have done it: write and search permission for the
// directory, and in one with the sticky bit the file or the directory must be its
// own (inode(7), unlink(2)). For all others the call is made as it stands, and the
// kernel says no. Later, hupt makes it with the rights of who asked.

// credentials are those that count for files (credentials(7)), as hupt's user
// namespace sees them.
type credentials struct {
	uid, gid uint32 // of the file system
	groups   []uint32
	// CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, in hupt's own user namespace
	override, search, owner bool
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
		has := func(bit uint) bool { return caps&(1<<bit) != 0 }
		c.override, c.search, c.owner = has(unix.CAP_DAC_OVERRIDE), has(unix.CAP_DAC_READ_SEARCH), has(unix.CAP_FOWNER)
	}
	return c, ok && err == nil
}

// mayRemove reports whether task k may take away the name l. An ordinary user's
// hupt can do no more than that user anyway.
func (k *task) mayRemove(l lookup) bool {
	c, ok := credentialsOf(k.tid)
	return ok && (os.Geteuid() != 0 || c.mayTakeAway(l))
}

// mayCreate reports whether task k may make names in the directory of l.
func (k *task) mayCreate(l lookup) bool {
	c, ok := credentialsOf(k.tid)
	return ok && (os.Geteuid() != 0 || c.mayChange(l))
}

func (c credentials) mayTakeAway(l lookup) bool {
	file, err := l.stat()
	var dir unix.Stat_t
	if err != nil || unix.Fstat(int(l.in.Fd()), &dir) != nil {
		return false
	}
	return !c.sticks(dir, file.Uid) && c.mayChange(l)
}

// mayChange reports whether names may be made and taken away in the directory of l.
// The kernel is asked, if it can tell.
func (c credentials) mayChange(l lookup) bool {
	type answer struct{ may, told bool }
	a, err := asTask(c, func() (a answer, _ error) {
		a.may, a.told = mayWriteTo(int(l.in.Fd()))
		return a, nil
	})
	if err != nil || a.told {
		return a.may
	}
	var dir unix.Stat_t
	return unix.Fstat(int(l.in.Fd()), &dir) == nil && c.mayWrite(dir)
}

func (c credentials) mayRemove(dir unix.Stat_t, owner uint32) bool {
	return !c.sticks(dir, owner) && c.mayWrite(dir)
}

// sticks reports whether the directory has the sticky bit, and neither it nor the
// file of that owner is c's.
func (c credentials) sticks(dir unix.Stat_t, owner uint32) bool {
	return dir.Mode&unix.S_ISVTX != 0 && !c.owner && c.uid != dir.Uid && c.uid != owner
}

func (c credentials) mayWrite(dir unix.Stat_t) bool {
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
