package smoke

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"hupt/load"
)

const (
	slowHold     = 300 * time.Millisecond // how long a slow request is in flight
	idleHold     = 250 * time.Millisecond // between two requests of a long-lived connection
	keptLifetime = 500 * time.Millisecond // after which a client leaves a kept connection by itself
)

func tlsConfig(name string) *tls.Config {
	// What is proven here is that no answer is lost, not whose it is.
	return &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{"http/1.1"}}
}

// loadOptions are the options for any load on a target.
func (c *course) loadOptions(t *Target) load.Options {
	network, _ := t.reachable()
	o := load.Options{Network: network, Address: t.Dial, TLS: t.ask.tls, Timeout: c.o.Timeout,
		Method: c.o.Method, Path: t.ask.path, Header: c.o.Header.Clone(), Body: c.o.Body, Raw: t.ask.raw,
		Sources: 1, KeepFailures: 50}
	if t.ask.host != "" && o.Header.Get("Host") == "" {
		if o.Header == nil {
			o.Header = http.Header{}
		}
		o.Header.Set("Host", t.ask.host)
	}
	return o
}

// mix is how the clients of a target are shared out. The two kinds in an open
// loop share the rate; the others are few, and always in flight.
func mix(t *Target, clients int, rate float64) []load.Options {
	few := max(1, clients/8)
	many := max(1, (clients-2*few)/2)
	kinds := []load.Options{
		{Kind: load.PerConnection, Clients: many, Rate: rate / 2},
		{Kind: load.KeepAlive, Clients: many, Rate: rate / 2, Lifetime: keptLifetime},
		{Kind: load.Slow, Clients: few, Hold: slowHold},
		{Kind: load.LongLived, Clients: few, Hold: idleHold, Lifetime: keptLifetime},
	}
	if t.ask.raw == nil {
		return kinds
	}
	switch {
	case t.Speaks == HTTP2: // a connection begins once
		kinds[0].Rate = rate
		return []load.Options{kinds[0], kinds[2]}
	case t.Speaks == UDPEcho || t.ask.raw.Quiet:
		kinds[0].Rate = rate
		return kinds[:1]
	case len(t.ask.raw.Send) == 0:
		// It speaks once, when a connection begins: there is no second
		// request, and no half of one.
		kinds[0].Rate = rate
		return kinds[:1]
	}
	return kinds
}

// startLoad sets all clients going.
func (c *course) startLoad(ctx context.Context) error {
	var asked []*Target
	for i := range c.m.Targets {
		if c.m.Targets[i].Speaks.loaded() {
			asked = append(asked, &c.m.Targets[i])
		}
	}
	c.loadBegan = time.Now()
	c.machine = load.WatchMachine()
	c.m.LoadFrom = c.at()
	for _, t := range asked {
		for _, kind := range mix(t, c.o.Clients/len(asked), c.o.Rate/float64(len(asked))) {
			o := c.loadOptions(t)
			o.Kind, o.Clients, o.Rate, o.Hold, o.Lifetime = kind.Kind, kind.Clients, kind.Rate, kind.Hold, kind.Lifetime
			if t.ask.raw == nil {
				t.lesson.judge(&o, c.o)
			}
			o.Observe = c.observe(c.at())
			// Not ctx: when the server dies, what its clients then see counts.
			run, err := load.Start(context.WithoutCancel(ctx), o)
			if err != nil {
				return err
			}
			c.mu.Lock()
			c.runs = append(c.runs, run)
			c.mu.Unlock()
		}
	}
	return nil
}

// stopLoad lets what is in flight end, and collects what was counted.
func (c *course) stopLoad() {
	if c.loadDone || len(c.runs) == 0 {
		return
	}
	c.loadDone = true
	type one struct {
		kind string
		res  load.Result
	}
	done := make(chan one)
	for _, r := range c.runs {
		go func() { done <- one{r.Kind().String(), r.Stop()} }()
	}
	for range c.runs {
		d := <-done
		c.results[d.kind] = append(c.results[d.kind], d.res)
	}
	c.m.LoadTo = c.at()
	c.wakes = c.machine()
}
