package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"hupt/generation"
)

// HookEvent is when a hook is run.
type HookEvent string

// The events that can have hooks, each about one generation.
const (
	HookBeforeStart HookEvent = "before-start" // before anything of it is done; a failure refuses it
	HookStarted     HookEvent = "started"      // it was launched
	HookReady       HookEvent = "ready"        // it is ready; the first one: it serves
	HookQuiesced    HookEvent = "quiesced"     // it accepts no more, since the next one serves
	HookDrained     HookEvent = "drained"      // it has no connection left
	HookFailed      HookEvent = "failed"       // it did not come to serve, or died in its probation
	HookStopped     HookEvent = "stopped"      // its last process has ended
)

// HookEvents are all of them, in the order of a generation's life.
var HookEvents = []HookEvent{HookBeforeStart, HookStarted, HookReady, HookQuiesced, HookDrained, HookFailed, HookStopped}

// Hook is a command of the user's.
type Hook struct {
	Event   HookEvent
	Command string // for /bin/sh -c
}

// ErrHook is why a generation was refused by a hook.
var ErrHook = errors.New("hook")

// hooks are those that wait to be run: one at a time, in the order of their
// events. Nothing waits for them but the end of the instance.
type hooks struct {
	mu      sync.Mutex
	queue   []func()
	running bool
	idle    chan struct{} // closed when there is none, once somebody waits for that
}

func (h *hooks) add(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue = append(h.queue, f)
	if !h.running {
		h.running = true
		go h.work()
	}
}

func (h *hooks) work() {
	for {
		h.mu.Lock()
		if len(h.queue) == 0 {
			h.running = false
			if h.idle != nil {
				close(h.idle)
				h.idle = nil
			}
			h.mu.Unlock()
			return
		}
		f := h.queue[0]
		h.queue = h.queue[1:]
		h.mu.Unlock()
		f()
	}
}

// done is closed when all that were added have been run.
func (h *hooks) done() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.idle == nil {
		h.idle = make(chan struct{})
	}
	idle := h.idle
	if !h.running {
		close(h.idle)
		h.idle = nil
	}
	return idle
}

// hook has the hooks of an event run, if there are any. It must be called in
// the loop.
func (s *Supervisor) hook(event HookEvent, n int, more ...string) {
	for _, h := range s.cfg.Hooks {
		if h.Event != event {
			continue
		}
		command := s.hookCommand(h, n, more...)
		s.hooks.add(func() {
			defer s.panics.catch()
			if err := s.run(command); err != nil {
				s.hub.publish(Event{Time: time.Now(), Kind: EventWarning, Generation: n, Reason: fmt.Sprintf("hook %s (%s): it %v", h.Event, h.Command, err)})
			}
		})
	}
}

func (s *Supervisor) hookCommand(h Hook, n int, more ...string) helper {
	p := s.program
	if g := s.gens[n]; g != nil {
		p = g.program
	}
	return helper{what: string(h.Event), command: h.Command, program: p, limit: s.cfg.HookTimeout,
		env: s.about(n, append(more, "HUPT_EVENT="+string(h.Event))...)}
}

// beforeStart is the hooks that may refuse generation n. What it gives is run
// beside the loop.
func (s *Supervisor) beforeStart(g *gen) func() error {
	var commands []helper
	for _, h := range s.cfg.Hooks {
		if h.Event == HookBeforeStart {
			c := s.hookCommand(h, g.n)
			c.quit = g.cancel
			commands = append(commands, c)
		}
	}
	return func() error {
		for _, c := range commands {
			if err := s.run(c); err != nil {
				return fmt.Errorf("%w %s (%s): it %w", ErrHook, c.what, c.command, err)
			}
		}
		return nil
	}
}

// hooksOf runs what belongs to something that was told.
func (s *Supervisor) hooksOf(e Event) {
	if len(s.cfg.Hooks) == 0 {
		return
	}
	switch e.Kind {
	case EventStarting:
		s.hook(HookStarted, e.Generation)
	case EventReady:
		s.hook(HookReady, e.Generation)
	case EventServing:
		if g := s.machine.Gen(e.Generation); g != nil && !s.isRestarting() {
			s.hook(HookReady, e.Generation) // it has no before
		}
	case EventDrained:
		s.hook(HookDrained, e.Generation)
	case EventFailed:
		s.hook(HookFailed, e.Generation, "HUPT_REASON="+e.Reason)
	case EventGone:
		more := []string{"HUPT_CUT=" + strconv.Itoa(e.Cut)}
		if g := s.gens[e.Generation]; g != nil && g.exit != nil {
			more = append(more, "HUPT_EXIT_CODE="+strconv.Itoa(g.exit.Code), "HUPT_REASON=it "+g.exit.Reason)
		}
		s.hook(HookStopped, e.Generation, more...)
	}
}

// isRestarting: a restart, not a first start, is under way.
func (s *Supervisor) isRestarting() bool { return s.machine.State() == "restarting" }

// hooksOfQuiesced: a generation accepts no more, and will not again unless the
// next one dies.
func (s *Supervisor) hooksOfQuiesced(ev generation.Event) {
	q, ok := ev.(generation.Quiesced)
	if !ok {
		return
	}
	if g := s.machine.Gen(q.N); g != nil && g.Phase == generation.Draining && !g.Failed {
		s.hook(HookQuiesced, q.N)
	}
}

// Validate says what is wrong with a hook.
func (h Hook) Validate() error {
	switch {
	case !slices.Contains(HookEvents, h.Event):
		return fmt.Errorf("there is no event %q; there are %v", h.Event, HookEvents)
	case h.Command == "":
		return errors.New("no command")
	}
	return nil
}
