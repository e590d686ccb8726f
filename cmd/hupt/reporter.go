package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"hupt/supervisor"
)

// level is how much `hupt run` tells.
type level int

const (
	levelQuiet level = iota // failures
	levelNormal
	levelVerbose
)

// levels says from which level on an event is told; those not named here from
// levelVerbose on.
var levels = map[supervisor.EventKind]level{
	supervisor.EventFailed:   levelQuiet,
	supervisor.EventRetry:    levelQuiet,
	supervisor.EventWarning:  levelNormal,
	supervisor.EventReviving: levelNormal,
	supervisor.EventOutput:   levelNormal,
	supervisor.EventStarting: levelNormal,
	supervisor.EventServing:  levelNormal,
	supervisor.EventQuiesced: levelNormal,
	supervisor.EventHammer:   levelNormal,
	supervisor.EventKilled:   levelNormal,
	supervisor.EventResumed:  levelNormal,
}

const (
	// maxLines wait for a stderr that nobody reads; more are dropped.
	maxLines = 256
	// flushTimeout is how long the end waits for such a stderr.
	flushTimeout = 200 * time.Millisecond
)

// reporter writes what happens to hupt's stderr, which is the program's too,
// and may be a pipe that is full: the supervisor must not wait for it.
type reporter struct {
	level level
	lines chan string
	done  chan struct{}

	mu     sync.Mutex // guards closed, and lines against its close
	closed bool
}

func newReporter(w io.Writer, l level) *reporter {
	r := &reporter{level: l, lines: make(chan string, maxLines), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for line := range r.lines {
			io.WriteString(w, line) // one write a line, so that none is torn
		}
	}()
	return r
}

// event is for supervisor.Config.Report.
func (r *reporter) event(e supervisor.Event) {
	l, ok := levels[e.Kind]
	if !ok {
		l = levelVerbose
	}
	switch {
	case e.Cut > 0: // something was lost
		l = levelQuiet
	case len(e.LetGo) > 0: // who comes there is not served any more
		l = levelNormal
	case e.Kind == supervisor.EventStopped && !e.Asked: // it may not have said why
		l = levelNormal
	}
	r.line(l, describe(e))
}

func (r *reporter) line(l level, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l > r.level || r.closed {
		return
	}
	select {
	case r.lines <- fmt.Sprintf("hupt: %s\n", text):
	default:
	}
}

// close writes what is left. What is told after is lost.
func (r *reporter) close() {
	r.mu.Lock()
	r.closed = true
	close(r.lines)
	r.mu.Unlock()
	select {
	case <-r.done:
	case <-time.After(flushTimeout):
	}
}
