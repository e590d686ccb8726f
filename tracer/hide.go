package tracer

import (
	"slices"

	"golang.org/x/sys/unix"

	"hupt/seccomp"
)

// Some programs connect to their own address before they bind it, to see whether
// another one runs there (php-fpm, pgbouncer). What a new version finds is its
// predecessor, or hupt itself, which holds the socket: it would give up, or wait for
// an answer for ever. So until it serves, a Unix socket that it is to take over and has not
// taken yet refuses its connect (ECONNREFUSED), as a cold start would find it.

// connects is the calls of connect(2) that must stop in a generation, by what it is
// offered.
func (g *Generation) connects() (c seccomp.Connects) {
	for _, o := range g.offers {
		if name := o.held.Name; name.Family == unix.AF_UNIX {
			c = max(c, seccomp.ConnectsTo(len(name.Path)))
		}
	}
	return c
}

// hideListeners makes a process stop at those calls that is about to execute a
// program for a new generation. If it can't, the program sees what it sees.
func (i *injection) hideListeners(c seccomp.Connects) {
	p := i.k.proc
	if c <= p.connects {
		return
	}
	program, err := seccomp.TraceConnects(c)
	if err == nil && i.addFilter(program) == nil {
		p.connects = c
	}
}

// onConnect: a task is about to connect a socket.
func (t *Tracer) onConnect(k *task, si syscallInfo) {
	if !k.proc.gen.settled && t.isHidden(k, si) {
		t.skip(k, -int64(unix.ECONNREFUSED))
	}
	t.resume(k, 0)
}

// isHidden reports whether what a task is about to connect to is a Unix socket that
// its generation is to take over.
func (t *Tracer) isHidden(k *task, si syscallInfo) bool {
	offers := slices.DeleteFunc(slices.Clone(k.proc.gen.offers), func(o *offer) bool {
		return o.taken || o.held.FD < 0 || o.held.Name.Family != unix.AF_UNIX
	})
	if len(offers) == 0 {
		return false
	}
	length := int(int32(si.Args[2]))
	b := make([]byte, max(0, min(length, unix.SizeofSockaddrUnix)))
	if readMemory(k.tid, si.Args[1], b) != nil {
		return false // EFAULT
	}
	want, ok := parseBind(b, length)
	if !ok || want.Family != unix.AF_UNIX {
		return false
	}
	local, err := k.takeFD(int(int32(si.Args[0])))
	if err != nil {
		return false
	}
	kind, err := kindOf(local)
	closeDuplicate(local)
	if err != nil || kind.Family != unix.AF_UNIX {
		return false
	}
	var at lookup
	if want.hasFile() {
		if at, err = lookUp(k.tid, unix.AT_FDCWD, want.Path); err != nil {
			return false
		}
	}
	return slices.ContainsFunc(offers, func(o *offer) bool {
		if want.hasFile() {
			return o.held.matchesAt(at, kind)
		}
		kind.Path = want.Path
		return o.held.Name == kind
	})
}
