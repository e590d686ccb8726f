package privilege

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Wanted is what a process is to be.
type Wanted struct {
	User    *User        // nil: who it is already
	Ambient Capabilities // that it keeps, and hands on to what it executes
	// NoNewPrivs: neither it nor what it executes gains anything by set-uid bits
	// or file capabilities, ever (PR_SET_NO_NEW_PRIVS in prctl(2)).
	NoNewPrivs bool
}

// ErrNotAllowed is what this package answers whoever may not have what he wants.
var ErrNotAllowed = errors.New("not allowed")

// Nothing reports whether nothing is to be changed.
func (w Wanted) Nothing() bool { return w.User == nil && !w.NoNewPrivs }

// BeforeExec makes the calling thread what is wanted. An execve must follow, by which all of
// the process becomes so and keeps its pid: the other threads are what they
// were, and on this one nothing else may be done any more. So it locks the
// goroutine to it, for good. What failed is no reason to go on: half of it may be
// done.
//
// By raw calls, since Go's own change all threads, or none in a program with cgo.
func (w Wanted) BeforeExec() error {
	runtime.LockOSThread()
	if w.User != nil {
		if err := w.become(); err != nil {
			return err
		}
	}
	if w.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	return nil
}

func (w Wanted) become() error {
	u := w.User
	sets, err := ownSets()
	if err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	// An ordinary user who asks for himself keeps his groups, whatever they are.
	if !u.is() || !u.inGroups() && sets.effective&setOf(unix.CAP_SETGID) != 0 {
		if err := u.mayBecome(sets); err != nil {
			return err
		}
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("keep capabilities: %w", err)
		}
		var first unsafe.Pointer
		if len(u.Groups) > 0 {
			first = unsafe.Pointer(&u.Groups[0])
		}
		if err := raw(unix.SYS_SETGROUPS, uintptr(len(u.Groups)), uintptr(first), 0); err != nil {
			return fmt.Errorf("set the groups of %s: %w", u, err)
		}
		if err := raw(unix.SYS_SETRESGID, uintptr(u.GID), uintptr(u.GID), uintptr(u.GID)); err != nil {
			return fmt.Errorf("become group %d: %w", u.GID, err)
		}
		if err := raw(unix.SYS_SETRESUID, uintptr(u.UID), uintptr(u.UID), uintptr(u.UID)); err != nil {
			return fmt.Errorf("become %s: %w", u, err)
		}
	}
	if u.UID == 0 {
		return nil // root has by an execve what root has; under no_new_privs, what it has now
	}
	return w.capabilities()
}

// capabilities leaves the thread those that are wanted, in all sets.
func (w Wanted) capabilities() error {
	sets, err := ownSets()
	if err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	if missing := w.Ambient &^ sets.permitted; missing != 0 {
		return fmt.Errorf("%w: hupt does not have %v itself", ErrNotAllowed, missing)
	}
	if err := (threadSets{w.Ambient, w.Ambient, w.Ambient}).set(); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	for n := range uintptr(64) {
		if w.Ambient&(1<<n) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n, 0, 0); err != nil {
			return fmt.Errorf("hand on %v (wants Linux 4.3, and no securebit against it): %w", Capabilities(1<<n), err)
		}
	}
	return nil
}

// MayRunAs tells why a process of this one's can't be run as that user: nil, or an
// error that wraps ErrNotAllowed.
func (u User) MayRunAs() error {
	sets, err := ownSets()
	if err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	return u.mayBecome(sets)
}

func (u User) mayBecome(sets threadSets) error {
	if need := setOf(unix.CAP_SETUID, unix.CAP_SETGID); sets.effective&need != need {
		return fmt.Errorf("%w: to become %s wants root, or CAP_SETUID and CAP_SETGID", ErrNotAllowed, u)
	}
	return nil
}

// is reports whether the calling thread is this user already, in every id.
func (u User) is() bool {
	r, e, s := unix.Getresuid()
	rg, eg, sg := unix.Getresgid()
	for _, id := range []int{r, e, s} {
		if id != int(u.UID) {
			return false
		}
	}
	for _, id := range []int{rg, eg, sg} {
		if id != int(u.GID) {
			return false
		}
	}
	return true
}

// inGroups reports whether the calling thread has exactly this user's groups.
func (u User) inGroups() bool {
	have, err := unix.Getgroups()
	if err != nil {
		return false
	}
	sorted := make([]uint32, len(have))
	for i, g := range have {
		sorted[i] = uint32(g)
	}
	slices.Sort(sorted)
	want := slices.Clone(u.Groups)
	slices.Sort(want)
	return slices.Equal(slices.Compact(sorted), slices.Compact(want))
}

// Check looks, after the execve, whether the process is what was wanted: a file of
// hupt's with capabilities or a set-id bit of its own, say, takes away or adds some.
func (w Wanted) Check() error {
	if w.User != nil && !w.User.is() {
		return fmt.Errorf("%w: hupt did not become %s; it must not be a set-uid file", ErrNotAllowed, w.User)
	}
	if w.User != nil && w.User.UID != 0 {
		sets, err := ownSets()
		if err != nil {
			return fmt.Errorf("capget: %w", err)
		}
		if has := ambient(); has != w.Ambient || sets.effective != w.Ambient || sets.permitted != w.Ambient {
			return fmt.Errorf("%w: hupt did not get the capabilities that were asked for, or others, too; it must not be a file with capabilities", ErrNotAllowed)
		}
	}
	if w.NoNewPrivs {
		if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || set != 1 {
			return fmt.Errorf("%w: no_new_privs is not set", ErrNotAllowed)
		}
	}
	return nil
}

func raw(call, a, b, c uintptr) error {
	if _, _, e := unix.RawSyscall(call, a, b, c); e != 0 {
		return e
	}
	return nil
}
