package supervisor

import (
	"maps"
	"slices"

	"hupt/fdtable"
	"hupt/generation"
	"hupt/tracer"
)

// addresses is what a new version must take over of those of the one before, with the
// options of this restart.
func (c Config) addresses(o RestartOptions) generation.Addresses {
	may, keep := o.MayMove, o.KeepAddresses
	if !may && !keep {
		may, keep = c.MayMove, c.KeepAddresses
	}
	switch {
	case may:
		return generation.MayMove
	case keep:
		return generation.KeepAddresses
	}
	return generation.SomeAddress
}

// notKept is the addresses of the version before that generation n did not take over, nor
// opened anew.
func (s *Supervisor) notKept(n int) []string {
	g := s.gens[n]
	if g == nil || g.traced == nil {
		return nil
	}
	gone := s.tracer.NotKept(g.traced)
	if len(gone) == 0 {
		return nil
	}
	mine := fdtable.Open(slices.Values(s.tracer.Pids(g.traced)))
	has := make(map[string]bool)
	sockets, _ := fdtable.DumpAll(fdtable.Listening)
	for _, k := range slices.Concat(sockets, s.datagramServers()) {
		if k.Receives() && mine[k.Inode] {
			has[tracer.NameOf(k).String()] = true
		}
	}
	for inode, path := range s.tracer.SocketPaths() {
		if mine[inode] {
			has["unix "+path], has["unixpacket "+path], has["unixgram "+path] = true, true, true
		}
	}
	return slices.DeleteFunc(gone, func(a string) bool { return has[a] })
}

// letGo is notKept for a generation whose sockets are known.
func (st *GenerationStatus) letGo(gone []string) {
	has := make(map[string]bool)
	for _, k := range st.Sockets {
		has[k.Network+" "+k.Address] = true
	}
	st.LetGo = slices.DeleteFunc(gone, func(a string) bool { return has[a] })
}

// union is what some processes of a pool let go.
func union(lists [][]string) []string {
	all := make(map[string]bool)
	for _, list := range lists {
		for _, a := range list {
			all[a] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
