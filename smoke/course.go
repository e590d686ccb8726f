package smoke

import (
	"context"
	"sync"
	"time"

	"hupt/load"
)

// course is a run on its way: what it drives and what it measured so far.
type course struct {
	o      *Options
	server *server
	v      *versions // nil: the program is never exchanged
	began  time.Time

	runs      []*load.Run
	loadBegan time.Time
	loadDone  bool
	machine   func() []load.Wake // ends the watch on the machine
	wakes     []load.Wake
	results   map[string][]load.Result // by kind

	mu       sync.Mutex
	m        Measured
	watchers sync.WaitGroup // goroutines that follow the end of old generations
	phases   []int          // indexes of m.Spans that go on
	current  int            // generation that serves
	doingNow string
	events   []string // not yet told
	requests int64
	failures int64
	slowest  time.Duration // since it was told
	tellMu   sync.Mutex    // one Progress at a time
}

func newCourse(o *Options, s *server, v *versions, began time.Time) *course {
	c := &course{o: o, server: s, v: v, began: began, results: map[string][]load.Result{}, current: 1}
	c.m.Asked = o.Restarts
	c.doingNow = "starting the server"
	return c
}

// at is now, since the run began.
func (c *course) at() time.Duration { return time.Since(c.began) }

// doing says what the run does from here on.
func (c *course) doing(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doingNow = what
}

// happened tells something once.
func (c *course) happened(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, what)
}

// tell calls Progress several times a second until it is stopped.
func (c *course) tell() (stop func()) {
	if c.o.Progress == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		before, since := int64(0), time.Now()
		rate := 0.0
		for last := false; !last; {
			select {
			case <-tick.C:
			case <-done:
				last = true
			}
			c.mu.Lock()
			p := Progress{At: c.at(), Doing: c.doingNow, Requests: c.requests, Failures: c.failures, Slowest: c.slowest,
				Generation: c.current, Restarts: len(good(c.m.Restarts)), Asked: c.o.Restarts}
			events := c.events
			c.events, c.slowest = nil, 0
			c.mu.Unlock()
			if d := time.Since(since); d >= 500*time.Millisecond {
				rate = float64(p.Requests-before) / d.Seconds()
				before, since = p.Requests, time.Now()
			}
			p.Rate = rate
			for _, e := range events {
				one := p
				one.Event = e
				c.o.Progress(one)
			}
			c.o.Progress(p)
		}
	}()
	return func() { close(done); <-ended }
}

// beginSpan opens a phase, to which requests that end from here on belong. It
// returns by which it is ended.
func (c *course) beginSpan(restart int, name string, from time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.Spans = append(c.m.Spans, Span{Restart: restart, Name: name, From: from.Sub(c.began)})
	i := len(c.m.Spans) - 1
	c.phases = append(c.phases, i)
	c.setPhase()
	return i
}

func (c *course) endSpan(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, p := range c.phases {
		if p == i {
			c.phases = append(c.phases[:n], c.phases[n+1:]...)
			c.m.Spans[i].To = c.at()
			break
		}
	}
	c.setPhase()
}

// setPhase tells the load of the phase that began last of those that go on.
func (c *course) setPhase() {
	name := ""
	if n := len(c.phases); n > 0 {
		name = c.m.Spans[c.phases[n-1]].title()
	}
	for _, r := range c.runs {
		r.SetPhase(name)
	}
}

// resources reads what the serving generation has.
func (c *course) resources(ctx context.Context) Resources {
	st, err := c.server.status(ctx)
	if err != nil {
		return Resources{}
	}
	g, ok := serving(st)
	if !ok {
		return Resources{}
	}
	return resources(g.PIDs)
}

// observe is told of every request.
func (c *course) observe(offset time.Duration) func(load.Sample) {
	const most = 1 << 20
	return func(s load.Sample) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests++
		if s.Class != load.ClassNone {
			c.failures++
		}
		if s.Kind == load.PerConnection || s.Kind == load.KeepAlive {
			c.slowest = max(c.slowest, s.Latency)
		}
		if len(c.m.Samples) < most {
			c.m.Samples = append(c.m.Samples, Sample{At: offset + s.Due + s.Latency, Latency: s.Latency,
				Kind: s.Kind, Class: s.Class, Generation: c.current})
		}
	}
}
