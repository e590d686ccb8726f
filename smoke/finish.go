package smoke

import (
	"fmt"
	"slices"
	"time"

	"hupt/load"
)

// title is the phase's name in reports and in failures.
func (s Span) title() string {
	if s.Restart == 0 {
		return "bad start"
	}
	return fmt.Sprintf("restart %d: %s", s.Restart, s.Name)
}

// finish makes of the samples and results what is derived from them.
func (c *course) finish() {
	m := &c.m
	var all []load.Result
	m.ByKind = map[string]load.Result{}
	for kind, list := range c.results {
		all = append(all, list...)
		m.ByKind[kind] = load.Merge(list...)
	}
	m.Load = load.Merge(all...)
	slices.SortFunc(m.Load.First, func(a, b load.Failure) int { return a.Time.Compare(b.Time) })
	for i := range m.Spans {
		if m.Spans[i].To == 0 {
			m.Spans[i].To = c.at()
		}
	}
	first := c.at()
	if len(m.Restarts) > 0 {
		first = m.Restarts[0].At
	}
	m.Before, m.During, m.Between = split(m.Samples, m.Spans, first)
	wakes := make([]Sample, len(c.wakes))
	late := make([]time.Duration, len(c.wakes))
	for i, w := range c.wakes {
		late[i] = w.Late
		wakes[i] = Sample{At: w.At.Sub(c.began), Latency: w.Late}
	}
	m.Machine = load.LatencyOf(late)
	_, m.machineDuring, m.machineBetween = split(wakes, m.Spans, first)
	for i := range m.Generations {
		g := &m.Generations[i]
		g.Requests, g.Failures = 0, 0
		for _, s := range m.Samples {
			if s.Generation == g.Number {
				g.Requests++
				if s.Class != load.ClassNone {
					g.Failures++
				}
			}
		}
	}
}

// split sorts the latencies of right answers, or of wake-ups, by when they came: before the
// first restart, during one, or between two. Slow and long-lived clients
// choose their own latency and are left out.
func split(samples []Sample, spans []Span, first time.Duration) (before, during, between load.Latency) {
	var lists [3][]time.Duration
	for _, s := range samples {
		if s.Class != load.ClassNone || s.Kind != load.PerConnection && s.Kind != load.KeepAlive {
			continue
		}
		which := 0
		if s.At >= first {
			which = 2
			for _, p := range spans {
				// It overlaps a phase if it began before its end and ended
				// after its beginning.
				if s.At >= p.From && s.At-s.Latency <= p.To {
					which = 1
					break
				}
			}
		}
		lists[which] = append(lists[which], s.Latency)
	}
	return load.LatencyOf(lists[0]), load.LatencyOf(lists[1]), load.LatencyOf(lists[2])
}

// generationAt returns which generation served at a time, 0 if none did.
func generationAt(list []Generation, at time.Duration) int {
	number := 0
	for _, g := range list {
		if g.From <= at {
			number = max(number, g.Number)
		}
	}
	return number
}
