package generation

import (
	"fmt"
	"time"
)

func (s *step) died(g *Gen) string {
	how := g.Exit.Reason
	if how == "" {
		how = "ended"
	}
	return fmt.Sprintf("it %s after %s%s", how, seconds(s.now.Sub(g.Launched)), g.lastCall())
}

// why a new generation is no good.
func (s *step) why(g *Gen) string {
	if g.why != "" {
		return g.why
	}
	return s.died(g)
}

func (s *step) notReady(g *Gen) string {
	p := g.Progress
	var what string
	r := s.restart
	switch {
	case p.Listening == 0 && p.Offered == 0 && r != nil && r.number == g.Number && r.listened:
		what = "it listens on nothing, and the version before does"
	case !s.keeps(g) && p.Kept < p.Addresses && (g.told || p.Listening > 0 && p.Waiting >= p.Listening):
		what = s.lacks(g)
	case g.accepts || s.policy.Ready == ByWord:
		if what = g.doubt; what == "" && g.told {
			what = "it was said to be, but has none of the sockets that it was to take over"
		} else if what == "" {
			what = "nobody said that it is"
		}
	case p.Listening == 0 && p.Offered == 0:
		what = "it listens on nothing"
	case p.Listening == 0 && p.Offered == 1:
		what = "it does not listen on the socket that it was to take over"
	case p.Listening == 0:
		what = fmt.Sprintf("it listens on none of the %d sockets that it was to take over", p.Offered)
	case p.Waiting >= p.Listening:
		what = fmt.Sprintf("it took over %d of the %d sockets that it was to", p.Adopted, p.Offered)
	case p.Listening == 1:
		what = "it listens, but does not wait for connections"
	default:
		what = fmt.Sprintf("it waits for connections on %d of the %d sockets that it listens on", p.Waiting, p.Listening)
	}
	return fmt.Sprintf("it was not ready after %s: %s%s", seconds(s.now.Sub(g.Launched)), what, g.lastCall())
}

func (g *Gen) lastCall() string {
	if g.lastFailed == "" {
		return ""
	}
	return "; its last failed call: " + g.lastFailed
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
