package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"hupt/supervisor"
)

// sparse is how often a drain count is told where lines can't be rewritten.
const sparse = time.Second

// teller shows a restart or a stop as it happens: as JSON, as plain lines, or
// on a terminal, where the count of a drain is rewritten in place.
type teller struct {
	w        io.Writer
	json     bool
	terminal bool

	counting id        // whose count stands in the unfinished line
	told     time.Time // when a count was told last
	counted  map[id]bool
}

// id names a generation, of a pool's process.
type id struct{ process, generation int }

func idOf(e supervisor.Event) id { return id{e.Process, e.Generation} }

func newTeller(w io.Writer, asJSON bool) *teller {
	return &teller{w: w, json: asJSON, terminal: isTerminal(w), counted: map[id]bool{}}
}

func (t *teller) event(e supervisor.Event) {
	switch {
	case t.json:
		json.NewEncoder(t.w).Encode(e)
	case e.Kind == supervisor.EventDraining:
		t.count(e)
	case e.Kind == supervisor.EventFailed && e.Process == 0:
		// The error says it.
	case e.Kind == supervisor.EventDrained && idOf(e) == t.counting && t.terminal:
		fmt.Fprintf(t.w, "\r\x1b[K%s\n", short(e))
		t.counting = id{}
	default:
		t.end()
		fmt.Fprintln(t.w, short(e))
	}
}

// count tells how many connections are left: in place on a terminal, else the
// first time and then now and again.
func (t *teller) count(e supervisor.Event) {
	switch {
	case t.terminal:
		if t.counting != idOf(e) {
			t.end()
		}
		// EL (ECMA-48): clear to the end of the line.
		fmt.Fprintf(t.w, "\r%s\x1b[K", short(e))
		t.counting = idOf(e)
	case !t.counted[idOf(e)] || e.Time.Sub(t.told) >= sparse:
		fmt.Fprintln(t.w, short(e))
		t.counted[idOf(e)] = true
		t.told = e.Time
	}
}

// end finishes a line that was being rewritten.
func (t *teller) end() {
	if t.counting != (id{}) {
		fmt.Fprintln(t.w)
		t.counting = id{}
	}
}

// done tells that all is over.
func (t *teller) done() {
	t.end()
	if !t.json {
		fmt.Fprintln(t.w, "done")
	}
}

// short is describe for somebody who knows which restart it is about.
func short(e supervisor.Event) string {
	if e.Process != 0 || e.Processes != 0 {
		return describe(e)
	}
	switch e.Kind {
	case supervisor.EventStarting:
		if e.Reason != "" {
			return describe(e)
		}
		return fmt.Sprintf("starting generation %d (pid %d)…", e.Generation, e.PID)
	case supervisor.EventAdopted:
		return "taking over " + printable(e.Address)
	case supervisor.EventReady:
		return "ready" + after(e)
	case supervisor.EventServing:
		return "serving" + after(e)
	case supervisor.EventConfirmed:
		return fmt.Sprintf("generation %d serves: confirmed%s%s", e.Generation, after(e), letGo(e))
	case supervisor.EventDraining:
		return fmt.Sprintf("draining generation %d: %s…", e.Generation, left(e))
	case supervisor.EventDrained:
		return fmt.Sprintf("generation %d drained%s", e.Generation, after(e))
	case supervisor.EventStopping:
		return fmt.Sprintf("stopping generation %d…", e.Generation)
	}
	return describe(e)
}
