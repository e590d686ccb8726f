package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hupt/supervisor"
)

// drainFlags say what is done to the connections of an old version.
type drainFlags struct {
	Drain       supervisor.DrainMode `help:"What is done to the old version's connections: idle, http, tcp or none (docs/drain.md)." default:"idle" placeholder:"idle"`
	DrainPort   drainPorts           `help:"The same for those to one port; may be given several times." placeholder:"PORT=MODE"`
	IdleGrace   *duration            `help:"How long a connection of the old version is idle before it is closed; 30s, or 1s while the new version waits for the old one to end." placeholder:"30s"`
	CloseSpread *duration            `help:"Over how long the closing of idle connections is spread; 10s, or 0." placeholder:"10s"`
}

// drainPorts is a flag like 5432=none, given several times.
type drainPorts map[uint16]supervisor.DrainMode

// UnmarshalText is encoding.TextUnmarshaler.
func (p *drainPorts) UnmarshalText(text []byte) error {
	port, mode, ok := strings.Cut(string(text), "=")
	n, err := strconv.ParseUint(port, 10, 16)
	if !ok || err != nil || n == 0 {
		return fmt.Errorf("%q is not a port and a mode, like 5432=none", text)
	}
	var m supervisor.DrainMode
	if err := m.UnmarshalText([]byte(mode)); err != nil {
		return err
	}
	if was, ok := (*p)[uint16(n)]; ok && was != m {
		return fmt.Errorf("port %d can't be both %s and %s", n, was, m)
	}
	if *p == nil {
		*p = make(drainPorts)
	}
	(*p)[uint16(n)] = m
	return nil
}

// checkDrain refuses flags that contradict each other.
func (c *runCmd) checkDrain() error {
	closes := c.Drain >= supervisor.DrainHTTP
	for _, m := range c.DrainPort {
		closes = closes || m >= supervisor.DrainHTTP
	}
	switch {
	case c.IdleGrace != nil && *c.IdleGrace < 0:
		return usagef("--idle-grace must not be negative")
	case c.CloseSpread != nil && *c.CloseSpread < 0:
		return usagef("--close-spread must not be negative")
	case !closes && c.IdleGrace != nil:
		return usagef("--idle-grace has no effect: --drain %s closes nothing", c.Drain)
	case !closes && c.CloseSpread != nil:
		return usagef("--close-spread has no effect: --drain %s closes nothing", c.Drain)
	case c.IdleGrace != nil && c.DrainTimeout >= 0 && time.Duration(*c.IdleGrace) >= time.Duration(c.DrainTimeout):
		return usagef("--idle-grace %v is not less than --drain-timeout %v, which cuts everything",
			time.Duration(*c.IdleGrace), time.Duration(c.DrainTimeout))
	}
	return nil
}
