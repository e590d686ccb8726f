package tracer

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// Of what a generation listens on, some is where clients come to, and its successor is
// expected there. Some is its own: for its children, under a name that never comes
// again. Nobody can tell in general which is which; what can be told is left out here.

// isAddress reports whether h, of generation g, is where clients come to, as far as can
// be told: the next generation is expected there.
func (t *Tracer) isAddress(g *Generation, h *Held) bool {
	switch {
	case !h.counts(), h.PortZero, h.idle, h.other:
		return false
	case h.Name.udp():
		// A resolver's, say, with a port of its own for each question.
		return g.listening[h.Inode] || g.inherited[h.Inode] || g.takenOffer(h.Inode) != nil
	case h.file != nil:
		return !g.isPrivate(h.file)
	}
	return true
}

// isPrivate reports whether f is the file of a socket that g has made for itself: it has the
// number of one of its processes in its path, or is in a directory that nobody else
// may enter and that was made since g began (mkdtemp(3)).
func (g *Generation) isPrivate(f *socketFile) bool {
	for _, word := range strings.FieldsFunc(f.path(), func(r rune) bool { return !unicode.IsDigit(r) }) {
		if pid, err := strconv.Atoi(word); err == nil && g.procs[pid] != nil {
			return true
		}
	}
	var st unix.Statx_t
	err := unix.Statx(int(f.in.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MODE|unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 || st.Mode&0o77 != 0 {
		return false
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)).After(g.launched)
}

// text is the name of h, with the path that its file has.
func (h *Held) text() string {
	name := h.Name
	if h.file != nil {
		name.Path = h.file.path()
	}
	return name.String()
}

// offered is what g is offered. Sockets of one name (SO_REUSEPORT) are one address.
func (g *Generation) offered(held []*Held) {
	numbers := make(map[Name]int)
	for _, h := range held {
		o := &offer{held: h}
		if h.address != "" {
			if numbers[h.Name] == 0 {
				numbers[h.Name] = len(numbers) + 1
			}
			o.address = numbers[h.Name]
		}
		g.offers = append(g.offers, o)
	}
	g.addresses = len(numbers)
}

// kept is how many of the addresses that g was offered it took over, and which it did not.
func (g *Generation) kept() (n int, letGo []string) {
	taken := make([]bool, g.addresses+1)
	for _, o := range g.offers {
		taken[o.address] = taken[o.address] || o.taken
	}
	taken[0] = true // what is none
	for _, o := range g.offers {
		if !taken[o.address] {
			taken[o.address] = true
			letGo = append(letGo, o.held.address)
		}
	}
	slices.Sort(letGo) // sockets are in no order that means anything to people
	return g.addresses - len(letGo), letGo
}

// NotKept is the addresses of the generation before that g did not take over, in words.
func (t *Tracer) NotKept(g *Generation) (letGo []string) {
	t.Do(func() { _, letGo = g.kept() })
	return letGo
}

// maxTold bounds how many addresses a sentence names.
const maxTold = 8

// inWords is a list of addresses for a sentence.
func inWords(list []string) string {
	if n := len(list) - maxTold; n > 0 {
		return strings.Join(list[:maxTold], ", ") + " and " + strconv.Itoa(n) + " more"
	}
	return strings.Join(list, ", ")
}
