package supervisor

import (
	"fmt"
	"time"

	"hupt/generation"
)

// ReadyKind is how it is told that a new generation is ready.
type ReadyKind string

// The kinds of readiness. But for ReadyNotify, they ask for more than to
// accept connections, not for less.
const (
	ReadyAccept  ReadyKind = "accept"  // it waits for connections on every socket that it listens on
	ReadyNotify  ReadyKind = "notify"  // it says READY=1 (sd_notify(3))
	ReadyDelay   ReadyKind = "delay"   // …and it has run for so long
	ReadyCommand ReadyKind = "command" // …and a command succeeds
	ReadyHTTP    ReadyKind = "http"    // …and it answers a request with a status from 200 to 399
)

// Ready is what makes a new generation ready. The zero value is ReadyAccept.
type Ready struct {
	Kind    ReadyKind
	Delay   time.Duration
	Command string
	URL     string
}

// policy is what this means to package generation.
func (r Ready) policy() generation.Readiness {
	switch r.Kind {
	case ReadyNotify:
		return generation.ByWord
	case ReadyDelay, ReadyCommand, ReadyHTTP:
		return generation.ByBoth
	}
	return generation.ByAccept
}

const (
	askEvery = 200 * time.Millisecond // a generation whether it is ready
	askLimit = 10 * time.Second       // for one answer
)

// ask finds out when generation g is ready, beside the loop, until it has gone.
func (s *Supervisor) ask(g *gen) {
	var try func() error
	switch r := s.cfg.Ready; r.Kind {
	case ReadyDelay:
		time.AfterFunc(r.Delay, func() { s.later(generation.Told{N: g.n}) })
		return
	case ReadyCommand:
		env := s.about(g.n)
		try = func() error {
			err := s.run(helper{what: "ready", command: r.Command, env: env, program: g.program, limit: askLimit, quit: g.over, quiet: true})
			if err != nil {
				err = fmt.Errorf("%q %w", r.Command, err)
			}
			return err
		}
	case ReadyHTTP:
		try = (&prober{url: r.URL, mine: func(inodes map[uint64]bool) bool {
			return len(ofProcesses(s.tracer.Pids(g.traced), inodes)) > 0
		}}).try
	default:
		return
	}
	s.beside(func() {
		for {
			err := try()
			if err == nil {
				s.later(generation.Told{N: g.n})
				return
			}
			s.later(generation.Doubted{N: g.n, Reason: err.Error()})
			select {
			case <-g.over:
				return
			case <-s.done:
				return
			case <-time.After(askEvery):
			}
		}
	})
}
