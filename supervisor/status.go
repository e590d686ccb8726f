package supervisor

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/tracer"
)

// Status implements Restarter. What can be read from /proc and sock_diag is
// read on the caller's goroutine.
func (s *Supervisor) Status(connections bool) Status {
	defer s.tellPanic()
	var st Status
	var serves [][]tracer.Name
	var gens []*gen
	s.call(func() {
		st = Status{
			Version: s.cfg.Version, PID: os.Getpid(), Name: s.cfg.Name, Command: s.program.command,
			Path: s.path, Dir: s.program.dir, Started: s.started, State: s.machine.State(),
			Restarts: s.machine.Restarts, Rollbacks: s.machine.Rollbacks, Cut: s.machine.Cut,
		}
		if g := s.gens[s.machine.Serving()]; g != nil && g.path != "" {
			st.Path = g.path // one that failed was executed since
		}
		if p := s.previous(); p != nil {
			st.Previous = p.command
		}
		for _, m := range s.machine.Gens() {
			g := s.gens[m.Number]
			if g == nil || g.traced == nil {
				continue
			}
			st.Generations = append(st.Generations, GenerationStatus{
				Number: g.n, State: m.Phase.String(), PID: g.main, Started: g.started,
			})
			serves, gens = append(serves, slices.Clone(g.serves)), append(gens, g)
		}
	})
	st.Stops, st.Injected = s.tracer.Stats()
	mine := make([]map[uint64]bool, len(gens))
	for i, g := range gens {
		st.Generations[i].PIDs = s.tracer.Pids(g.traced)
		mine[i] = fdtable.Open(slices.Values(st.Generations[i].PIDs))
	}
	sockets := s.sockets(mine, connections)
	paths := s.tracer.SocketPaths()
	for i := range st.Generations {
		open := s.fill(&st.Generations[i], gens[i].traced, mine[i], serves[i], sockets, paths)
		st.Generations[i].letGo(s.tracer.NotKept(gens[i].traced))
		if connections {
			gens[i].conns.update(open, s.tracer.Conns(gens[i].traced))
			st.Generations[i].Connected = gens[i].conns.list()
		}
	}
	return st
}

// sockets is what the kernel tells of the sockets of all generations, and of
// others. The table of connections, which is long on a busy machine, is only
// read if they have something that is in no other.
func (s *Supervisor) sockets(mine []map[uint64]bool, flows bool) []fdtable.Socket {
	sockets, _ := fdtable.Dump(fdtable.Listening, 0)
	local, _ := fdtable.DumpUnix(fdtable.Listening | fdtable.Connected)
	sockets = append(sockets, local...)
	sockets = append(sockets, s.datagramServers()...)
	known := make(map[uint64]bool, len(sockets))
	for _, k := range sockets {
		known[k.Inode] = true
	}
	for _, m := range mine {
		for inode := range m {
			if !known[inode] {
				dump := fdtable.Dump
				if flows {
					dump = fdtable.DumpFlows
				}
				connected, _ := dump(fdtable.Connected, 0)
				return append(sockets, connected...)
			}
		}
	}
	return sockets
}

// fill gives the connections by inode.
func (s *Supervisor) fill(out *GenerationStatus, g *tracer.Generation, mine map[uint64]bool, served []tracer.Name, sockets []fdtable.Socket, paths map[uint64]string) map[uint64]fdtable.Socket {
	adopted := s.tracer.Adopted(g)
	for _, pid := range out.PIDs {
		out.RSS += rss(pid)
	}
	names := served
	for _, k := range sockets {
		if !k.Receives() || !mine[k.Inode] {
			continue
		}
		n := tracer.NameOf(k)
		names = append(names, n)
		at := n.Text()
		if path, ok := paths[k.Inode]; ok {
			at = path
		}
		out.Sockets = append(out.Sockets, SocketStatus{
			Network: n.Network(), Address: at, Adopted: adopted[k.Inode],
			Queue: k.Queue, Backlog: k.Backlog,
		})
	}
	open := make(map[uint64]fdtable.Socket)
	for _, k := range sockets {
		if !k.Receives() && mine[k.Inode] && !mine[k.Peer] && covers(names, tracer.NameOf(k)) {
			out.Connections++
			open[k.Inode] = k
		}
	}
	return open
}

// datagramServers is the datagram sockets that the program bound and that have
// no peer.
func (s *Supervisor) datagramServers() []fdtable.Socket {
	bound := s.tracer.Bound()
	sockets, _ := fdtable.DumpUDP(1<<fdtable.StateClose, 0)
	return slices.DeleteFunc(sockets, func(k fdtable.Socket) bool { return !bound[k.Inode] })
}

// rss is the resident memory of a process in bytes (proc_pid_statm(5)).
func rss(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(unix.Getpagesize())
}
