package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded in microseconds, to three digits.
const (
	lowest  = 1
	highest = int64(10 * time.Minute / time.Microsecond)
	digits  = 3
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(lowest, highest, digits) }

// recorder counts what the clients of a run tell it.
type recorder struct {
	keep int // failures that are kept whole

	mu         sync.Mutex
	requests   int64
	failures   int64
	unsent     int64
	reconnects int64
	byClass    map[Class]int64
	first      []Failure
	tags       map[string]TagCount
	phases     map[string]*PhaseCount
	order      []string // of phases, as they came
	all        *hdrhistogram.Histogram
	quiet      *hdrhistogram.Histogram
	busy       *hdrhistogram.Histogram
	late       *hdrhistogram.Histogram
}

func newRecorder(keep int) *recorder {
	return &recorder{keep: keep,
		byClass: map[Class]int64{}, tags: map[string]TagCount{}, phases: map[string]*PhaseCount{},
		all: newHistogram(), quiet: newHistogram(), busy: newHistogram(), late: newHistogram()}
}

// record counts a request that ended: how late it was sent, and f if it failed.
func (r *recorder) record(s Sample, late time.Duration, f *Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	p := r.phases[s.Phase]
	if p == nil {
		p = &PhaseCount{Phase: s.Phase}
		r.phases[s.Phase] = p
		r.order = append(r.order, s.Phase)
	}
	p.Requests++
	record(r.late, late)
	if f != nil {
		r.failures++
		r.byClass[f.Class]++
		p.Failures++
		if len(r.first) < r.keep {
			r.first = append(r.first, *f)
		}
		return
	}
	p.Max = max(p.Max, s.Latency)
	record(r.all, s.Latency)
	if s.Phase == "" {
		record(r.quiet, s.Latency)
	} else {
		record(r.busy, s.Latency)
	}
	if s.Tag != "" {
		at := s.Due + s.Latency
		t, ok := r.tags[s.Tag]
		if !ok {
			t.First = at
		}
		t.Requests++
		t.First, t.Last = min(t.First, at), max(t.Last, at)
		r.tags[s.Tag] = t
	}
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	// The error says only that the value is out of range.
	_ = h.RecordValue(min(max(int64(d/time.Microsecond), lowest), highest))
}

func (r *recorder) addUnsent(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsent += n
}

func (r *recorder) addReconnects(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reconnects += n
}

// result returns a copy of what was counted so far.
func (r *recorder) result(elapsed time.Duration) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := Result{Requests: r.requests, Failures: r.failures, Unsent: r.unsent, Reconnects: r.reconnects,
		Elapsed: elapsed, ByClass: map[Class]int64{}, Tags: map[string]TagCount{},
		First:   append([]Failure(nil), r.first...),
		Latency: latencyOf(r.all), Quiet: latencyOf(r.quiet), Restarts: latencyOf(r.busy), Lateness: latencyOf(r.late)}
	for k, v := range r.byClass {
		res.ByClass[k] = v
	}
	for k, v := range r.tags {
		res.Tags[k] = v
	}
	for _, name := range r.order {
		res.Phases = append(res.Phases, *r.phases[name])
	}
	return res
}
