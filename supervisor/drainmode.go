package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"hupt/fdtable"
	"hupt/generation"
)

// DrainMode is what is done to the connections of a generation that drains.
// Each does what those before it do, and more.
type DrainMode int

// The modes.
const (
	DrainTCP  DrainMode = iota // they are waited for
	DrainHTTP                  // HTTP/1 responses say close, and HTTP/1 connections are closed when they are idle
	DrainIdle                  // so are those that are silent, whatever they speak
	DrainNone DrainMode = -1   // they are not waited for
)

var drainModes = map[DrainMode]string{DrainNone: "none", DrainTCP: "tcp", DrainHTTP: "http", DrainIdle: "idle"}

func (m DrainMode) String() string { return drainModes[m] }

// UnmarshalText is encoding.TextUnmarshaler.
func (m *DrainMode) UnmarshalText(text []byte) error {
	for mode, name := range drainModes {
		if name == string(text) {
			*m = mode
			return nil
		}
	}
	return fmt.Errorf("%q is none of idle, http, tcp and none", text)
}

// drainMode is that of connections to a local port; 0: of Unix sockets.
func (c *Config) drainMode(port uint16) DrainMode {
	if m, ok := c.DrainPorts[port]; ok && port != 0 {
		return m
	}
	return c.Drain
}

// How long a connection is idle before it is closed, and over how long that is
// spread, if nobody says. Longer than most heartbeats of websockets (15 to 30 s),
// of which one shows that a connection is not HTTP; and together shorter than
// the default of --drain-timeout. While the next version waits for this one
// to end, nobody is served: then it is short.
const (
	idleGrace   = 30 * time.Second
	closeSpread = 10 * time.Second

	idleGraceAwaited = time.Second
)

// closing is the grace and the spread of a drain; awaited: the next generation
// waits for its end.
func (c *Config) closing(awaited bool) (grace, spread time.Duration) {
	choose := func(v *time.Duration, otherwise, ifAwaited time.Duration) time.Duration {
		switch {
		case v != nil:
			return *v
		case awaited:
			return ifAwaited
		}
		return otherwise
	}
	return choose(c.IdleGrace, idleGrace, idleGraceAwaited), choose(c.CloseSpread, closeSpread, 0)
}

// checkDrainPorts warns of ports in DrainPorts on which generation n does not
// listen, once it had a second to open all that it opens.
func (s *Supervisor) checkDrainPorts(n int) {
	g := s.gens[n]
	if len(s.cfg.DrainPorts) == 0 || g == nil {
		return
	}
	s.beside(func() {
		select {
		case <-s.done:
			return
		case <-time.After(generation.Settle):
		}
		pids := s.tracer.Pids(g.traced)
		listening, err := fdtable.Dump(fdtable.Listening, 0)
		if err != nil || len(pids) == 0 {
			return
		}
		open := fdtable.Open(slices.Values(pids))
		missing := maps.Clone(s.cfg.DrainPorts)
		for _, l := range listening {
			if open[l.Inode] {
				delete(missing, l.Local.Port())
			}
		}
		for _, port := range slices.Sorted(maps.Keys(missing)) {
			s.warn(n, fmt.Sprintf("--drain-port %d=%s: it does not listen on that port", port, missing[port]))
		}
	})
}
