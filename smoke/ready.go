package smoke

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"hupt/supervisor"
)

// awaitReady waits until the server listens and answers, and learns what it
// speaks.
func (c *course) awaitReady(ctx context.Context) error {
	deadline := time.Now().Add(c.o.ReadyTimeout)
	sockets, err := c.awaitSockets(ctx, deadline)
	if err != nil {
		return err
	}
	c.doing("finding out what it speaks")
	var why error
	for {
		targets, err := c.probeAll(ctx, sockets)
		if err == nil {
			c.m.ReadyAfter = c.at()
			c.mu.Lock()
			c.m.Targets = targets
			c.m.Generations = []Generation{{Number: 1, PID: c.firstPID(ctx), From: c.at()}}
			c.mu.Unlock()
			for _, t := range targets {
				c.happened(fmt.Sprintf("listens on %s, speaks %s", t.Socket, t.Speaks))
			}
			return nil
		}
		why = err
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			return neverf("it listens on %s, but %v", names(sockets), why)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		// No answer from hupt in time is no news of the server.
		if now := c.sockets(ctx); len(now) > 0 {
			sockets = now
		}
	}
}

// awaitSockets waits until the server listens, and then until no new socket
// has appeared for a while.
func (c *course) awaitSockets(ctx context.Context, deadline time.Time) ([]Socket, error) {
	var sockets []Socket
	since := time.Now()
	for {
		if c.server.connect(ctx) {
			if now := c.sockets(ctx); len(now) != len(sockets) {
				sockets, since = now, time.Now()
			}
		}
		if len(sockets) > 0 && time.Since(since) >= c.o.Settle {
			return sockets, nil
		}
		if time.Now().After(deadline) {
			if len(sockets) > 0 {
				return sockets, nil
			}
			return nil, neverf("%s", c.whyNot(ctx))
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// whyNot says what can be seen of a server that does not listen.
func (c *course) whyNot(ctx context.Context) string {
	within := short(c.o.ReadyTimeout)
	if c.server.inst == nil {
		return fmt.Sprintf("hupt itself did not answer on its control socket within %s", within)
	}
	st, err := c.server.status(ctx)
	if err == nil {
		for _, g := range st.Generations {
			for _, pid := range g.PIDs {
				if readsStdin(pid) {
					return fmt.Sprintf("it waits to read from its standard input (process %d) and listens on nothing after %s", pid, within)
				}
			}
		}
	}
	return fmt.Sprintf("it listens on nothing after %s", within)
}

// sockets returns what the serving generation listens on, from the kernel, or
// if its processes can't be looked into, as hupt tells.
func (c *course) sockets(ctx context.Context) []Socket {
	st, err := c.server.status(ctx)
	if err != nil {
		return nil
	}
	g, ok := serving(st)
	if !ok {
		return nil
	}
	return socketsOf(g)
}

func socketsOf(g supervisor.GenerationStatus) []Socket {
	if found := listening(g.PIDs); len(found) > 0 {
		return found
	}
	var list []Socket
	for _, s := range g.Sockets {
		list = append(list, Socket{Network: s.Network, Address: s.Address})
	}
	sortSockets(list)
	return list
}

func (c *course) firstPID(ctx context.Context) int {
	st, err := c.server.status(ctx)
	if err != nil {
		return 0
	}
	g, _ := serving(st)
	return g.PID
}

// probeAll finds out what each socket speaks and what its right answers are.
func (c *course) probeAll(ctx context.Context, sockets []Socket) ([]Target, error) {
	if c.o.URL != "" {
		t, err := c.fromURL(sockets)
		if err == nil {
			err = c.learnTarget(ctx, &t)
		}
		return []Target{t}, err
	}
	var targets []Target
	loaded := false
	at := map[string]int{}
	for _, s := range sockets {
		if i, ok := at[s.String()]; ok { // a group of SO_REUSEPORT
			targets[i].inodes = append(targets[i].inodes, s.Inode)
			continue
		}
		t, err := probe(s, c.o, 2*time.Second)
		if err != nil {
			return nil, fmt.Errorf("%s does not take connections: %w", s, err)
		}
		t.inodes = []uint64{s.Inode}
		t.Dual = dual(s)
		if t.Speaks.loaded() {
			if err := c.learnTarget(ctx, &t); err != nil {
				return nil, fmt.Errorf("%s (%s) does not answer as it should: %w", s, t.Speaks, err)
			}
			loaded = true
		}
		at[s.String()] = len(targets)
		targets = append(targets, t)
	}
	if !loaded {
		return nil, fmt.Errorf("none of them can be asked anything: %s", strings.Join(targetLines(targets), "; "))
	}
	return targets, nil
}

// learnTarget sees what right answers of a target are.
func (c *course) learnTarget(ctx context.Context, t *Target) error {
	l, err := learn(ctx, c.loadOptions(t))
	if err != nil {
		return err
	}
	t.lesson = l
	t.Status = l.status
	if t.ask.raw == nil && c.o.ExpectStatus != 0 && l.status != c.o.ExpectStatus {
		return fmt.Errorf("its status is %d, not %d", l.status, c.o.ExpectStatus)
	}
	if t.ask.raw == nil && c.o.ExpectBody != nil && !c.o.ExpectBody.Match(l.exact) {
		return fmt.Errorf("its body %q does not match %s", clip(printable(string(l.exact)), 60), c.o.ExpectBody)
	}
	if t.ask.raw == nil && c.o.ExpectStatus == 0 && l.status >= 500 {
		return fmt.Errorf("its status is %d; --expect-status says if that is right", l.status)
	}
	return nil
}

// fromURL makes the target that --url names, which must be one of the
// server's sockets.
func (c *course) fromURL(sockets []Socket) (Target, error) {
	u, err := url.Parse(c.o.URL)
	if err != nil {
		return Target{}, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	addrs, err := net.LookupHost(u.Hostname())
	if err != nil {
		return Target{}, err
	}
	for _, a := range addrs {
		want, err := netip.ParseAddr(a)
		if err != nil {
			continue
		}
		for _, s := range sockets {
			have, err := netip.ParseAddrPort(s.Address)
			if err != nil || !strings.HasPrefix(s.Network, "tcp") || fmt.Sprint(have.Port()) != port {
				continue
			}
			// A wildcard takes any address of its family, and :: both.
			any := have.Addr().IsUnspecified() && (have.Addr().Is6() || want.Is4())
			if have.Addr() != want && !any {
				continue
			}
			t := Target{Socket: s, Speaks: HTTP, Dial: net.JoinHostPort(a, port), inodes: []uint64{s.Inode}}
			t.ask.path, t.ask.host = u.RequestURI(), u.Host
			if u.Scheme == "https" {
				t.Speaks = HTTPS
				t.ask.tls = tlsConfig(u.Hostname())
			}
			return t, nil
		}
	}
	return Target{}, fmt.Errorf("not on what %s means", c.o.URL)
}

func names(sockets []Socket) string {
	var list []string
	for _, s := range sockets {
		list = append(list, s.String())
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}
