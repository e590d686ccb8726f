package load

import (
	"fmt"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run found.
type Result struct {
	Requests   int64           `json:"requests"` // that ended, right or not
	Failures   int64           `json:"failures"`
	ByClass    map[Class]int64 `json:"by_class"`
	First      []Failure       `json:"first_failures,omitempty"`
	Unsent     int64           `json:"unsent"`     // due in an open loop, but not sent before the run ended
	Reconnects int64           `json:"reconnects"` // kept connections that the server closed idle; nothing was lost
	Elapsed    time.Duration   `json:"elapsed_ns"`

	// Of right answers: of all, of those in no phase, of those in one.
	Latency  Latency `json:"latency"`
	Quiet    Latency `json:"latency_quiet"`
	Restarts Latency `json:"latency_restarts"`
	// Lateness is how long after it was due a request was sent: the load's
	// own error, or the wait for a free client.
	Lateness Latency `json:"lateness"`

	Tags   map[string]TagCount `json:"tags,omitempty"`
	Phases []PhaseCount        `json:"phases,omitempty"` // as they came
}

// TagCount counts the answers of one tag.
type TagCount struct {
	Requests int64         `json:"requests"`
	First    time.Duration `json:"first_ns"` // when the first came, since the run's start
	Last     time.Duration `json:"last_ns"`
}

// PhaseCount counts the requests of one phase; "" is that of no restart.
type PhaseCount struct {
	Phase    string        `json:"phase"`
	Requests int64         `json:"requests"`
	Failures int64         `json:"failures"`
	Max      time.Duration `json:"max_ns"` // the slowest right answer
}

// Rate returns the requests a second that ended.
func (r Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Requests) / r.Elapsed.Seconds()
}

// String returns the result as a few lines.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests in %.1fs (%.0f/s), %d failed", r.Requests, r.Elapsed.Seconds(), r.Rate(), r.Failures)
	for _, c := range Classes {
		if n := r.ByClass[c]; n > 0 {
			fmt.Fprintf(&b, ", %s %d", c, n)
		}
	}
	if r.Unsent > 0 {
		fmt.Fprintf(&b, ", %d never sent", r.Unsent)
	}
	fmt.Fprintf(&b, "\nlatency          %s\n", r.Latency)
	if r.Restarts.Count > 0 {
		fmt.Fprintf(&b, "  in restarts    %s\n  otherwise      %s\n", r.Restarts, r.Quiet)
	}
	for _, f := range r.First {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	return b.String()
}

// Latency is a distribution of durations.
type Latency struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p99_9_ns"`
	Max   time.Duration `json:"max_ns"`

	h *hdrhistogram.Histogram
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	l := Latency{Count: h.TotalCount()}
	if l.Count == 0 {
		return l
	}
	l.h = hdrhistogram.Import(h.Export())
	l.Mean = time.Duration(h.Mean() * float64(time.Microsecond))
	l.P50, l.P90, l.P99, l.P999 = l.Quantile(50), l.Quantile(90), l.Quantile(99), l.Quantile(99.9)
	l.Max = time.Duration(h.Max()) * time.Microsecond
	return l
}

// Quantile returns the duration that percent of the values do not exceed.
func (l Latency) Quantile(percent float64) time.Duration {
	if l.h == nil {
		return 0
	}
	return time.Duration(l.h.ValueAtQuantile(percent)) * time.Microsecond
}

// String returns the usual percentiles.
func (l Latency) String() string {
	if l.Count == 0 {
		return "none"
	}
	r := func(d time.Duration) time.Duration {
		if d > time.Second {
			return d.Round(time.Millisecond)
		}
		return d.Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v  p90 %v  p99 %v  p99.9 %v  max %v", r(l.P50), r(l.P90), r(l.P99), r(l.P999), r(l.Max))
}

// Merge adds up the results of runs that went on at the same time.
func Merge(results ...Result) Result {
	m := Result{ByClass: map[Class]int64{}, Tags: map[string]TagCount{}}
	all, quiet, busy, late := newHistogram(), newHistogram(), newHistogram(), newHistogram()
	add := func(h *hdrhistogram.Histogram, l Latency) {
		if l.h != nil {
			h.Merge(l.h)
		}
	}
	at := map[string]int{}
	for _, r := range results {
		m.Requests += r.Requests
		m.Failures += r.Failures
		m.Unsent += r.Unsent
		m.Reconnects += r.Reconnects
		m.Elapsed = max(m.Elapsed, r.Elapsed)
		m.First = append(m.First, r.First...)
		add(all, r.Latency)
		add(quiet, r.Quiet)
		add(busy, r.Restarts)
		add(late, r.Lateness)
		for c, n := range r.ByClass {
			m.ByClass[c] += n
		}
		for k, t := range r.Tags {
			o, ok := m.Tags[k]
			if !ok {
				o.First = t.First
			}
			m.Tags[k] = TagCount{o.Requests + t.Requests, min(o.First, t.First), max(o.Last, t.Last)}
		}
		for _, p := range r.Phases {
			i, ok := at[p.Phase]
			if !ok {
				i = len(m.Phases)
				at[p.Phase] = i
				m.Phases = append(m.Phases, PhaseCount{Phase: p.Phase})
			}
			q := &m.Phases[i]
			q.Requests, q.Failures, q.Max = q.Requests+p.Requests, q.Failures+p.Failures, max(q.Max, p.Max)
		}
	}
	m.Latency, m.Quiet, m.Restarts, m.Lateness = latencyOf(all), latencyOf(quiet), latencyOf(busy), latencyOf(late)
	return m
}

// LatencyOf returns the distribution of a list of durations.
func LatencyOf(list []time.Duration) Latency {
	h := newHistogram()
	for _, d := range list {
		record(h, d)
	}
	return latencyOf(h)
}
