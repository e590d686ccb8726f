package tracer

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// What hupt does in the file system for a task, it does with that task's rights:
// it follows a path where the task could, and takes away what the task could have
// taken away. The kernel says what that is, lists of access (acl(5)) and mounts
// included: the call is made on a thread that has the task's ids for files, its
// groups, and of hupt's capabilities those for files that the task has, too
// (credentials(7): each thread has its own). The thread is thrown away afterwards.

// asTask is f, made with the rights c. Where those are hupt's own, as they always
// are if hupt and the program are of one user, it is made at once. Elsewhere it
// has callLimit, since a file system in user space may never answer: f must not
// write what others read.
func asTask[T any](c credentials, f func() (T, error)) (out T, err error) {
	own, ok := credentialsOf(unix.Gettid())
	if !ok {
		return out, errors.New("hupt's own rights are not known")
	}
	if own.equal(c) {
		return f()
	}
	type answer struct {
		out   T
		err   error
		panic any
	}
	done := make(chan answer, 1)
	offMain(func() {
		var a answer
		defer func() {
			a.panic = recover()
			done <- a
		}()
		if a.err = c.assume(own); a.err == nil {
			a.out, a.err = f()
		}
	})
	select {
	case a := <-done:
		if a.panic != nil {
			panic(a.panic)
		}
		return a.out, a.err
	case <-time.After(callLimit):
		return out, errStuck
	}
}

// offMain runs f on a thread that ends with it. It is never the process's first:
// that would stay, and what it has is what /proc shows of hupt.
func offMain(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f() // the thread ends, since it is locked still
			return
		}
		started := make(chan bool)
		go func() {
			runtime.LockOSThread() // another one: the first is taken
			close(started)
			f()
		}()
		<-started
		runtime.UnlockOSThread()
	}()
}

func (c credentials) equal(o credentials) bool {
	return c.uid == o.uid && c.gid == o.gid && c.override == o.override && c.search == o.search && c.owner == o.owner &&
		slices.Equal(sorted(c.groups), sorted(o.groups))
}

func sorted(ids []uint32) []uint32 {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return ids
}

// assume gives the calling thread the rights c in place of hupt's own. By raw calls:
// Go's wrappers change all threads. What an ordinary user's hupt can't become is
// let be, since it can do no more than that user.
func (c credentials) assume(own credentials) error {
	// A change of these ids makes the process one that can't be looked into
	// (PR_SET_DUMPABLE in prctl(2)).
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if dumpable == 1 {
		defer unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	ordinary := unix.Geteuid() != 0
	if !slices.Equal(sorted(c.groups), sorted(own.groups)) {
		if err := setThreadGroups(c.groups); err != nil && !ordinary {
			return err
		}
	}
	// These tell nothing but what was there before.
	unix.Syscall(unix.SYS_SETFSGID, uintptr(c.gid), 0, 0)
	unix.Syscall(unix.SYS_SETFSUID, uintptr(c.uid), 0, 0)
	const same = ^uintptr(0)
	gid, _, _ := unix.Syscall(unix.SYS_SETFSGID, same, 0, 0)
	uid, _, _ := unix.Syscall(unix.SYS_SETFSUID, same, 0, 0)
	if (uint32(gid) != c.gid || uint32(uid) != c.uid) && !ordinary {
		return fmt.Errorf("become user %d, group %d: %w", c.uid, c.gid, unix.EPERM)
	}
	return c.setCapabilities()
}

// setCapabilities leaves the thread those for files that c has, and no others.
func (c credentials) setCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	want := uint32(0)
	for bit, has := range map[uint]bool{unix.CAP_DAC_OVERRIDE: c.override, unix.CAP_DAC_READ_SEARCH: c.search, unix.CAP_FOWNER: c.owner} {
		if has {
			want |= 1 << bit
		}
	}
	left := data[0].Permitted & want
	data = [2]unix.CapUserData{{Effective: left, Permitted: left}}
	return unix.Capset(&header, &data[0])
}
