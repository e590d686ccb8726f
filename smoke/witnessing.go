package smoke

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// witnesses is how many connections are traced to their process at a restart.
const witnesses = 3

// seeWhoServes looks, right after a restart, which sockets the new generation
// got, what it runs, and into which process new connections go.
func (c *course) seeWhoServes(ctx context.Context, f *follower) {
	c.seeSockets(ctx, f)
	tried, other := 0, 0
	for _, t := range c.m.Targets {
		if !t.Speaks.loaded() {
			continue
		}
		for range witnesses {
			who := holder(t, func() []int { return c.everyPID(ctx) }, 500*time.Millisecond)
			if len(who) == 0 {
				continue
			}
			tried++
			if !c.belongs(ctx, f.next, who) {
				other++
			}
		}
	}
	f.update(func(r *Restart) { r.Witnesses, r.ByOther = tried, other })
}

// everyPID lists the processes of all generations: those that hupt knows, and
// those that were born since.
func (c *course) everyPID(ctx context.Context) []int {
	list := descendants(c.server.pid)
	st, err := c.server.status(ctx)
	if err != nil {
		return list
	}
	for _, g := range st.Generations {
		for _, pid := range g.PIDs {
			if !slices.Contains(list, pid) {
				list = append(list, pid)
			}
		}
	}
	return list
}

func (c *course) seeSockets(ctx context.Context, f *follower) {
	st, err := c.server.status(ctx)
	if err != nil {
		return
	}
	for _, g := range st.Generations {
		if g.Number != f.next {
			continue
		}
		lost := missing(c.m.Targets, socketsOf(g))
		var runs string
		if c.v != nil && c.v.second != "" {
			runs = c.v.runs(g.PID, c.restartAt(f.i).Expected)
		}
		f.update(func(r *Restart) { r.Lost, r.Program = lost, runs })
	}
}

func (c *course) restartAt(i int) Restart {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m.Restarts[i]
}

// allGood says whether no restart failed so far. The followers of the last ones
// may still be writing.
func (c *course) allGood() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(good(c.m.Restarts)) == len(c.m.Restarts)
}

// belongs says whether one of the processes is of a generation.
func (c *course) belongs(ctx context.Context, generation int, pids []int) bool {
	st, err := c.server.status(ctx)
	if err != nil {
		return true // nobody to ask: don't accuse
	}
	for _, g := range st.Generations {
		if g.Number != generation {
			continue
		}
		for _, pid := range pids {
			if slices.Contains(g.PIDs, pid) || slices.Contains(descendants(g.PID), pid) {
				return true
			}
		}
	}
	return false
}

// missing returns the targets whose socket, the very same one, is not among
// those that a generation has. A queue is only taken over with its socket.
func missing(targets []Target, have []Socket) []string {
	var lost []string
	for _, t := range targets {
		if t.Network[0] == 'u' && t.Network != "unix" && t.Speaks == UDPNone {
			continue // perhaps a client's socket: every generation has its own
		}
		state := "is not listened on any more"
		for _, s := range have {
			if s.Network != t.Network || s.Address != t.Address {
				continue
			}
			if slices.Contains(t.inodes, s.Inode) || s.Inode == 0 {
				state = ""
				break
			}
			state = "is another socket now, with an empty queue"
		}
		if state != "" {
			lost = append(lost, fmt.Sprintf("%s %s", t.Socket, state))
		}
	}
	return lost
}

// remember notes the processes of the generation that serves. It must be done
// before that is told to stop: the first process may be gone a moment later.
func (c *course) remember(ctx context.Context) {
	st, err := c.server.status(ctx)
	if err != nil {
		return
	}
	g, ok := serving(st)
	if !ok {
		return
	}
	var had []Process
	for _, pid := range g.PIDs {
		p, _, _, ok := stat(pid)
		switch {
		case !ok:
		case pid == g.PID:
			had = append([]Process{p}, had...)
		default:
			had = append(had, p)
		}
	}
	if len(had) > 0 && had[0].PID == g.PID {
		c.generation(g.Number, func(g *Generation) { g.had = had })
	}
}

// seeWhoOutlives watches a generation that was sent its stop signal: processes
// that are still there when its first one has gone were left behind.
func (c *course) seeWhoOutlives(generation int) {
	ctx, cancel := context.WithTimeout(context.Background(), c.o.StopTimeout+2*time.Second)
	defer cancel()
	var had []Process
	c.generation(generation, func(g *Generation) { had = slices.Clone(g.had) })
	if len(had) < 2 {
		return
	}
	for had[0].alive() {
		if pause(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
	// A child that was sent its own signal may take a moment longer.
	_ = pause(ctx, 250*time.Millisecond)
	left := slices.DeleteFunc(had[1:], func(p Process) bool { return !p.alive() })
	c.generation(generation, func(g *Generation) { g.Outlived = left })
}

// seeLateSockets finds sockets that appeared when the load already ran.
func (c *course) seeLateSockets(ctx context.Context) {
	known := map[string]bool{}
	for _, t := range c.m.Targets {
		known[t.Socket.String()] = true
	}
	for _, s := range c.sockets(ctx) {
		if !known[s.String()] && c.o.URL == "" && s.Network[:3] != "udp" {
			c.m.LateTargets = append(c.m.LateTargets, s)
		}
	}
}
