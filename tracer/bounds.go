package tracer

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A program's processes need not all be of one user: root's may have children to
// whom it does not trust much. What hupt keeps for them costs it descriptors, and
// what they listen on might hold a restart up. "Another user" is one who is neither root,
// nor hupt's, nor that of the generation's first process.
const (
	// reserved is how many descriptors hupt keeps for all else that it does.
	reserved = 256

	// mostOfOther is how many sockets of another user are held, and of how many the
	// files are noted.
	mostOfOther = 256
)

// isOther reports whether user uid is another user in generation g. It asks the
// kernel only where hupt is root and uid is not. While nobody can be asked, it is as
// it was before.
func isOther(g *Generation, uid uint32) bool {
	if uid == 0 || int(uid) == os.Geteuid() || os.Geteuid() != 0 {
		return false
	}
	if first := rightsOf(g.lead()); first.ok {
		g.user = first.owner
	}
	return uid != g.user
}

// lead is the first process; when that of a generation that serves has ended, as that
// of a program that daemonizes does, the oldest that is left. One that is on its way
// out has none then: whoever outlives his master is not the master.
func (g *Generation) lead() int {
	lead := g.procs[g.Root]
	if lead == nil && g.settled && !g.quiesced {
		for _, p := range g.procs {
			if lead == nil || p.order < lead.order {
				lead = p
			}
		}
	}
	if lead == nil {
		return g.Root
	}
	return lead.pid
}

// noteOther remembers that a socket on which g listens is another user's, if task k is.
func (t *Tracer) noteOther(k *task, inode uint64) {
	g := k.proc.gen
	delete(g.others, inode)
	if k.proc.pid == g.Root {
		return
	}
	if r := rightsOf(k.tid); r.ok && isOther(g, r.owner) {
		g.others[inode] = true
	}
}

// room is what may be held of a generation's sockets.
type room struct {
	t     *Tracer
	g     *Generation
	left  int             // descriptors
	held  map[uint32]int  // of each user
	other map[uint32]bool // whether that is another user
}

// roomOf is the room beside what is held of g already.
func (t *Tracer) roomOf(g *Generation, have []*Held) *room {
	left := reserved // as many as are known to be there, if nothing is known
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		left = int(min(limit.Cur, 1<<30)) - reserved - len(t.held) - len(t.files)
	}
	r := &room{t, g, left, make(map[uint32]int), make(map[uint32]bool)}
	for _, h := range have {
		if h.FD >= 0 {
			r.held[h.owner]++
		}
	}
	return r
}

// isOther is isOther for g, asked once for each user.
func (r *room) isOther(uid uint32) bool {
	is, known := r.other[uid]
	if !known {
		is = isOther(r.g, uid)
		r.other[uid] = is
	}
	return is
}

// take reports whether there is room for one more. If not, that is told, once.
func (r *room) take(h *Held) bool {
	why := ""
	h.other = r.isOther(h.owner)
	switch {
	case r.left <= 0:
		why = "hupt would have no descriptors left for anything else (RLIMIT_NOFILE)"
	case h.other && r.held[h.owner] >= mostOfOther:
		why = fmt.Sprintf("of a user who is not the program's own, %d, no more than %d are", h.owner, mostOfOther)
	default:
		r.left--
		r.held[h.owner]++
		return true
	}
	if !r.g.full {
		r.g.full = true
		r.t.tell(Note{Kind: NoteWarning, Generation: r.g, Text: fmt.Sprintf("%s, and maybe others, are not handed over: %s", h.Name, why)})
	}
	return false
}

// mayNote reports whether the file of one more socket of user uid is noted.
func (t *Tracer) mayNote(g *Generation, uid uint32) bool {
	if !isOther(g, uid) {
		return true
	}
	n := 0
	for _, f := range t.files {
		if f.asked.uid == uid {
			n++
		}
	}
	return n < mostOfOther
}
