package smoke

import (
	"fmt"
	"time"

	"hupt/load"
)

// rule makes one check of what was measured. It touches nothing else.
type rule struct {
	name, title string
	judge       func(m *Measured, l Limits) verdict
}

type verdict struct {
	status Status
	figure string
	detail []string
}

func pass(format string, a ...any) verdict { return verdict{Pass, fmt.Sprintf(format, a...), nil} }
func fail(format string, a ...any) verdict { return verdict{Fail, fmt.Sprintf(format, a...), nil} }
func note(format string, a ...any) verdict { return verdict{Note, fmt.Sprintf(format, a...), nil} }
func skip(format string, a ...any) verdict { return verdict{Skip, fmt.Sprintf(format, a...), nil} }

func (v verdict) with(detail []string) verdict { v.detail = detail; return v }

// rules are all the checks, in the order in which reports show them.
var rules = []rule{
	{"ready", "ready in time", judgeReady},
	{"speaks", "it is known what they speak", judgeSpeaks},
	{"sockets", "every socket taken over", judgeSockets},
	{"ipv4", "reachable by IPv4", judgeIPv4},
	{"late", "all sockets there from the start", judgeLate},
	{"refused", "no connection refused", judgeRefused},
	{"lost", "no request lost", judgeLost},
	{"answers", "every answer right", judgeAnswers},
	{"sent", "load sent as planned", judgeSent},
	{"latency", "restarts don't slow it down", judgeLatency},
	{"max-p99", "p99 within the limit", judgeMaxP99},
	{"max-latency", "slowest request within the limit", judgeMaxLatency},
	{"restarts", "every restart succeeded", judgeRestarts},
	{"served-by-new", "each served by the new process", judgeWitnesses},
	{"upgrade", "each ran the version it should", judgeUpgrade},
	{"rollback", "a version that fails is rolled back", judgeRollback},
	{"run", "your own tests pass meanwhile", judgeUserTests},
	{"cut", "no connection cut at the drain's end", judgeCut},
	{"old-gone", "old processes are gone", judgeOldGone},
	{"orphans", "no process left behind", judgeOrphans},
	{"fds", "file descriptors as at first", judgeFDs},
	{"memory", "memory as at first", judgeMemory},
	{"connections", "no connection left", judgeConnections},
	{"stop", "stops on TERM in time", judgeStop},
}

// Judge makes the checks of what was measured. It is a pure function.
func Judge(m *Measured, l Limits) []Check {
	var checks []Check
	for _, r := range rules {
		v := r.judge(m, l)
		if v.status == "" {
			continue // it was not asked for
		}
		checks = append(checks, Check{r.name, r.title, v.status, v.figure, v.detail})
	}
	return checks
}

// none is the verdict of a check that was not asked for.
var none verdict

func judgeReady(m *Measured, l Limits) verdict {
	switch {
	case m.ReadyAfter == 0 && m.Ended:
		return skip("it ended before")
	case m.ReadyAfter == 0:
		return fail("not within %s", short(l.ReadyWithin))
	case l.ReadyWithin > 0 && m.ReadyAfter > l.ReadyWithin:
		return fail("after %s, limit %s", short(m.ReadyAfter), short(l.ReadyWithin))
	}
	return pass("after %s", short(m.ReadyAfter)).with(targetLines(m.Targets))
}

func targetLines(targets []Target) []string {
	var lines []string
	for _, t := range targets {
		line := fmt.Sprintf("%s speaks %s", t.Socket, t.Speaks)
		if t.Note != "" {
			line += ": " + t.Note
		}
		lines = append(lines, line)
	}
	return lines
}

func judgeSpeaks(m *Measured, _ Limits) verdict {
	var lines []string
	for _, t := range m.Targets {
		switch {
		case t.Speaks.checked():
		case t.Speaks.loaded():
			lines = append(lines, fmt.Sprintf("%s (%s): only its connections are checked: %s", t.Socket, t.Speaks, t.Note))
		default:
			lines = append(lines, fmt.Sprintf("%s: not loaded: %s", t.Socket, t.Note))
		}
	}
	if len(lines) == 0 {
		return none
	}
	return note("of %s it is not; --tcp-send and --tcp-expect say more", count(len(lines), "socket")).with(lines)
}

func judgeSockets(m *Measured, _ Limits) verdict {
	done := good(m.Restarts)
	if len(done) == 0 {
		return skip("no restart to see it at")
	}
	var lost []string
	for _, r := range done {
		for _, s := range r.Lost {
			lost = append(lost, fmt.Sprintf("restart %d: %s", r.Number, s))
		}
	}
	if len(lost) > 0 {
		return fail("%s not taken over", count(len(lost), "socket")).with(lost)
	}
	return pass("%s, the same in %s", count(len(m.Targets), "socket"), count(len(done), "restart"))
}

func judgeIPv4(m *Measured, _ Limits) verdict {
	v4, v6 := false, ""
	for _, t := range m.Targets {
		switch t.Network {
		case "tcp4", "udp4":
			v4 = true
		case "tcp6", "udp6":
			// A wildcard that took an IPv4 client serves both.
			if t.Dual {
				v4 = true
			} else if v6 == "" {
				v6 = t.Address
			}
		}
	}
	if v6 != "" && !v4 {
		return note("listens on IPv6 only: %s; IPv4 clients are refused", v6)
	}
	return none
}

func judgeLate(m *Measured, _ Limits) verdict {
	if len(m.LateTargets) == 0 {
		return none
	}
	var lines []string
	for _, s := range m.LateTargets {
		lines = append(lines, s.String())
	}
	return note("%s opened later, not loaded; give --settle to wait for such", count(len(lines), "socket")).with(lines)
}

// lostClasses are those of requests that got no whole answer.
var lostClasses = []load.Class{load.ClassReset, load.ClassTimeout, load.ClassClosed, load.ClassShort, load.ClassOther}

// wrongClasses are those of whole answers that were not right.
var wrongClasses = []load.Class{load.ClassMalformed, load.ClassStatus, load.ClassBody}

func judgeRefused(m *Measured, l Limits) verdict { return judgeClasses(m, l, load.ClassRefused) }
func judgeLost(m *Measured, l Limits) verdict    { return judgeClasses(m, l, lostClasses...) }
func judgeAnswers(m *Measured, l Limits) verdict { return judgeClasses(m, l, wrongClasses...) }

func judgeClasses(m *Measured, l Limits, classes ...load.Class) verdict {
	if m.Load.Requests == 0 {
		return skip("no request was made")
	}
	var n int64
	figure := ""
	of := map[load.Class]bool{}
	for _, c := range classes {
		of[c] = true
		if k := m.Load.ByClass[c]; k > 0 {
			n += k
			figure += fmt.Sprintf(", %s %d", c, k)
		}
	}
	figure = fmt.Sprintf("%d of %d%s", n, m.Load.Requests, figure)
	var lines []string
	for _, f := range m.Load.First {
		if of[f.Class] && len(lines) < 10 {
			lines = append(lines, failureLine(m, f))
		}
	}
	// The limit is for failures of all kinds together.
	if n > 0 && m.Load.Failures > l.MaxFailures {
		return fail("%s", figure).with(lines)
	}
	return pass("%s", figure).with(lines)
}

// failureLine tells of one failure, with the generation that served then.
func failureLine(m *Measured, f load.Failure) string {
	line := f.String()
	if g := generationAt(m.Generations, m.LoadFrom+f.At); g != 0 {
		line += fmt.Sprintf(" (generation %d served)", g)
	}
	return line
}

func judgeSent(m *Measured, _ Limits) verdict {
	if m.Load.Unsent == 0 {
		return none
	}
	unsent := count(int(m.Load.Unsent), "request")
	if m.Machine.P99 > busyMachine {
		return note("%s never sent; but the machine is too busy to tell the server from it: it wakes a thread p99 %s late", unsent, ms(m.Machine.P99))
	}
	return fail("%s never sent: the server answers too slowly for this rate and number of clients", unsent)
}

// busyMachine is from where on a machine is so late by itself that nothing can
// be said of how late a server is.
const busyMachine = 20 * time.Millisecond

// manyEnough is of how many requests there is a median. Fewer may all have been
// due in one moment in which the machine stood still: at 160 a second, 137 ms of
// that were half of 30.
const manyEnough = 60

// judgeLatency compares the medians, which a busy machine moves least, of
// before the first restart and after; and the p99 of requests during restarts
// with a wide margin, beyond which something stood still. What the machine
// itself is late is not the server's: an answer takes several wake-ups.
func judgeLatency(m *Measured, _ Limits) verdict {
	if m.Before.Count == 0 || m.During.Count+m.Between.Count == 0 {
		return skip("no restart to compare with")
	}
	figure := fmt.Sprintf("p50 %s, p99 %s, max %s during restarts; %s, %s, %s before",
		ms(m.During.P50), ms(m.During.P99), ms(m.During.Max), ms(m.Before.P50), ms(m.Before.P99), ms(m.Before.Max))
	for _, after := range []struct {
		name string
		load.Latency
		machine load.Latency // at the same time: it may have been busy for a moment
	}{{"during restarts", m.During, m.machineDuring}, {"between restarts", m.Between, m.machineBetween}} {
		p50 := 3*m.Before.P50 + 25*time.Millisecond + 4*max(m.Machine.P90, after.machine.P90)
		p99 := 10*m.Before.P99 + 500*time.Millisecond + 4*max(m.Machine.P999, after.machine.P999)
		lateness := max(m.Machine.P99, after.machine.P99)
		// Of few requests one is no percentile: a lost SYN takes 1 s whoever
		// restarts. It takes three.
		slow := after.Quantile(min(99, 100-300/float64(max(after.Count, 3))))
		var why string
		switch {
		case after.Count < 20:
		case after.P50 > p50 && after.Count >= manyEnough:
			why = fmt.Sprintf("p50 %s %s, limit %s", ms(after.P50), after.name, ms(p50))
		case slow > p99:
			why = fmt.Sprintf("p99 %s %s, limit %s", ms(slow), after.name, ms(p99))
		}
		switch {
		case why == "":
		case lateness > busyMachine:
			return note("%s", figure).with([]string{fmt.Sprintf("%s; but the machine is too busy to tell: it wakes a thread p99 %s late", why, ms(lateness))})
		default:
			return fail("%s", figure).with([]string{why})
		}
	}
	if m.Machine.P99 > busyMachine {
		figure += fmt.Sprintf("; the machine is busy: p99 %s late", ms(m.Machine.P99))
	}
	return pass("%s", figure)
}

func judgeMaxP99(m *Measured, l Limits) verdict {
	return judgeLimit(m.Load.Latency.Count, m.Load.Latency.P99, l.MaxP99)
}

func judgeMaxLatency(m *Measured, l Limits) verdict {
	return judgeLimit(m.Load.Latency.Count, m.Load.Latency.Max, l.MaxLatency)
}

func judgeLimit(n int64, got, limit time.Duration) verdict {
	switch {
	case limit == 0:
		return none
	case n == 0:
		return fail("no request was answered")
	case got > limit:
		return fail("%s, limit %s", ms(got), ms(limit))
	}
	return pass("%s, limit %s", ms(got), ms(limit))
}
