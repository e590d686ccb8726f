package smoke

import (
	"fmt"
	"time"
)

// good are the restarts that succeeded.
func good(restarts []Restart) []Restart {
	var done []Restart
	for _, r := range restarts {
		if r.OK {
			done = append(done, r)
		}
	}
	return done
}

func judgeRestarts(m *Measured, _ Limits) verdict {
	if m.Asked == 0 {
		return skip("none asked for")
	}
	done := good(m.Restarts)
	var lines []string
	var slowest time.Duration
	for _, r := range m.Restarts {
		if !r.OK {
			lines = append(lines, fmt.Sprintf("restart %d: %s", r.Number, r.Reason))
		}
		slowest = max(slowest, r.Serving)
	}
	switch {
	case len(m.Restarts) == 0 && !m.Complete:
		return skip("the run ended before the first")
	case len(done) < len(m.Restarts):
		return fail("%d of %d", len(done), len(m.Restarts)).with(lines)
	case len(done) == 0:
		return fail("0 of %d", m.Asked)
	case len(done) < m.Asked:
		return note("%d of %d: there was no time for more; --duration gives more", len(done), m.Asked)
	}
	return pass("%d of %d, the slowest served after %s", len(done), m.Asked, short(slowest))
}

func judgeWitnesses(m *Measured, _ Limits) verdict {
	done := good(m.Restarts)
	if len(done) == 0 {
		return skip("no restart to see it at")
	}
	asked, unseen := 0, 0
	var lines []string
	for _, r := range done {
		asked += r.Witnesses
		if r.Witnesses == 0 {
			unseen++
		}
		if r.ByOther > 0 {
			lines = append(lines, fmt.Sprintf("restart %d: %d of %d new connections were not in a process of generation %d", r.Number, r.ByOther, r.Witnesses, r.Generation))
		}
	}
	switch {
	case len(lines) > 0:
		return fail("%s went elsewhere", count(len(lines), "restart")).with(lines)
	case asked == 0:
		return skip("no connection could be traced to its process")
	case unseen > 0:
		return note("%s traced to the new process; in %s none could be", count(asked, "connection"), count(unseen, "restart"))
	}
	return pass("%s traced to the new process, %s", count(asked, "connection"), count(len(done), "restart"))
}

func judgeUpgrade(m *Measured, _ Limits) verdict {
	n, up := 0, 0
	var lines []string
	for _, r := range good(m.Restarts) {
		if r.Expected == "" {
			continue
		}
		n++
		if r.Upgraded {
			up++
		}
		if r.Program != r.Expected {
			lines = append(lines, fmt.Sprintf("restart %d runs %s, not %s", r.Number, r.Program, r.Expected))
		}
	}
	switch {
	case n == 0:
		return none
	case len(lines) > 0:
		return fail("%d of %d did not", len(lines), n).with(lines)
	}
	return pass("%d times to the second version, %d times back", up, n-up)
}

func judgeRollback(m *Measured, _ Limits) verdict {
	b := m.BadStart
	switch {
	case b == nil:
		return none
	case !b.RolledBack:
		return fail("the version that must fail was taken: %s", b.Reason)
	case b.Failures > 0:
		return fail("%s meanwhile", count(int(b.Failures), "failed request"))
	case !b.Recovered:
		return fail("the good restart right after failed: %s", b.After)
	}
	return pass("after %s, 0 failed meanwhile: %s", short(b.Took), b.Reason)
}

func judgeUserTests(m *Measured, _ Limits) verdict {
	t := m.UserTests
	switch {
	case t == nil:
		return none
	case t.Error != "":
		return fail("%s: %s", t.Command, t.Error).with(t.Output)
	case t.ExitCode != 0:
		return fail("exit code %d after %s, %s", t.ExitCode, short(t.Took), count(t.Restarts, "restart")).with(t.Output)
	}
	return pass("in %s, %s", short(t.Took), count(t.Restarts, "restart"))
}

func judgeCut(m *Measured, _ Limits) verdict {
	if len(good(m.Restarts)) == 0 {
		return none
	}
	cut, hammered := 0, 0
	for _, r := range m.Restarts {
		cut += r.Cut
		if r.Hammered {
			hammered++
		}
	}
	if cut > 0 {
		return fail("%s cut in %s: they outlived the drain time-out", count(cut, "connection"), count(hammered, "restart"))
	}
	return pass("0")
}

func judgeOldGone(m *Measured, _ Limits) verdict {
	done := good(m.Restarts)
	if len(done) == 0 {
		return skip("no restart to see it at")
	}
	if !m.Complete {
		return skip("the run ended early")
	}
	var lines []string
	var slowest time.Duration
	for _, r := range done {
		if r.Gone == 0 {
			lines = append(lines, fmt.Sprintf("restart %d: the old one was still there at the end", r.Number))
		}
		slowest = max(slowest, r.Gone)
	}
	if len(lines) > 0 {
		return fail("%d of %d are not", len(lines), len(done)).with(lines)
	}
	return pass("%d of %d, the slowest %s after its restart began", len(done), len(done), short(slowest))
}

func judgeOrphans(m *Measured, _ Limits) verdict {
	var lines []string
	for _, p := range m.Left {
		lines = append(lines, fmt.Sprintf("process %d (%s) is alive after the end", p.PID, p.Name))
	}
	for _, g := range m.Generations {
		for _, p := range g.Outlived {
			lines = append(lines, fmt.Sprintf("process %d (%s) outlived the first process of generation %d", p.PID, p.Name, g.Number))
		}
	}
	if len(lines) > 0 {
		return fail("%s", count(len(lines), "process")).with(lines)
	}
	if !m.Stop.Sent {
		return skip("the run ended early")
	}
	return pass("0")
}

// fdSlack is how many descriptors more than at first are no leak: what a
// program opens at its first request and keeps.
const fdSlack = 24

func judgeFDs(m *Measured, _ Limits) verdict {
	if !m.Idle.OK || !m.IdleLast.OK {
		return skip("could not be read")
	}
	// A server that starts helpers when it is loaded has more of everything.
	per := max(1, m.IdleLast.Processes-m.Idle.Processes+1)
	if m.IdleLast.FDs > m.Idle.FDs+m.Idle.FDs/4+fdSlack*per {
		return fail("%d idle after the load, %d at first", m.IdleLast.FDs, m.Idle.FDs)
	}
	return pass("%d idle after the load, %d at first", m.IdleLast.FDs, m.Idle.FDs)
}

// memorySlack is what a program may need more once it was under load.
const memorySlack = 64 << 20

func judgeMemory(m *Measured, _ Limits) verdict {
	if !m.Idle.OK || !m.IdleLast.OK {
		return skip("could not be read")
	}
	if m.IdleLast.RSS > 2*m.Idle.RSS+memorySlack {
		return fail("%s after the load, %s at first", size(m.IdleLast.RSS), size(m.Idle.RSS))
	}
	return pass("%s after the load, %s at first", size(m.IdleLast.RSS), size(m.Idle.RSS))
}

func judgeConnections(m *Measured, _ Limits) verdict {
	if !m.Complete {
		return skip("the run ended early")
	}
	if m.ConnectionsLeft > 0 {
		return fail("%d after all clients left", m.ConnectionsLeft)
	}
	return pass("0")
}

func judgeStop(m *Measured, l Limits) verdict {
	var lines []string
	orphans := false // it was one of them that had to be killed
	for i, g := range m.Generations {
		if g.Killed && len(g.Outlived) == 0 {
			lines = append(lines, fmt.Sprintf("generation %d outlived its stop signal and was killed", g.Number))
		}
		orphans = i == len(m.Generations)-1 && len(g.Outlived) > 0
	}
	s := m.Stop
	switch {
	case !s.Sent:
		return skip("the run ended early").with(lines)
	case s.TimedOut:
		return fail("it did not end within %s", short(s.After)).with(lines)
	case s.Killed && !orphans || len(lines) > 0:
		return fail("it ignores the stop signal and had to be killed").with(lines)
	case s.Killed:
		return pass("it did itself; what it left behind had to be killed")
	case l.StopWithin > 0 && s.After > l.StopWithin:
		return fail("after %s, limit %s", short(s.After), short(l.StopWithin))
	}
	return pass("after %s, %s", short(s.After), ending(s.ExitCode))
}

// ending tells how a process ended by the code that a shell would give it.
func ending(code int) string {
	if code > 128 && code <= 128+64 {
		return "ended by " + signalName(code-128)
	}
	return fmt.Sprintf("exit code %d", code)
}
