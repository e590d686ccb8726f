package smoke

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Summary returns the report's headline: what was done and what came of it.
func (r *Report) Summary() string {
	m := &r.Measured
	s := fmt.Sprintf("%s in %s", r.Outcome, short(r.Took))
	if r.Reason != "" {
		s += ": " + printable(r.Reason)
	}
	if m.Load.Requests > 0 {
		s += fmt.Sprintf("; %s, %s, %d failed", count(len(good(m.Restarts)), "restart"), count(int(m.Load.Requests), "request"), m.Load.Failures)
	}
	return s
}

// marks are what stands in front of a check. A colour never says it alone.
var marks = map[Status][2]string{
	Pass: {"ok  ", "\x1b[32m✓\x1b[0m"},
	Fail: {"FAIL", "\x1b[1;31m✗\x1b[0m"},
	Note: {"note", "\x1b[33m!\x1b[0m"},
	Skip: {"skip", "\x1b[2m-\x1b[0m"},
}

// WriteText writes the report for people, with colours if it is for a
// terminal.
func WriteText(w io.Writer, r *Report, colour bool) error {
	var b strings.Builder
	which := 0
	if colour {
		which = 1
	}
	width := 0
	for _, c := range r.Checks {
		if c.Status == Skip && r.Reason != "" {
			continue
		}
		width = max(width, len(c.Title))
	}
	for _, c := range r.Checks {
		if c.Status == Skip && r.Reason != "" {
			continue // it ended early, and the last line says why
		}
		fmt.Fprintf(&b, "%s %-*s  %s\n", marks[c.Status][which], width, c.Title, printable(c.Figure))
		if c.Status == Fail || c.Status == Note {
			for _, line := range c.Detail {
				fmt.Fprintf(&b, "       %s\n", printable(line))
			}
		}
	}
	if m := &r.Measured; m.Load.Latency.Count > 0 {
		fmt.Fprintf(&b, "\n%-16s %9s %9s %9s %9s %9s\n", "latency", "requests", "p50", "p99", "p99.9", "max")
		for _, kind := range kindNames {
			l := m.ByKind[kind].Latency
			if l.Count == 0 {
				continue
			}
			fmt.Fprintf(&b, "%-16s %9d %9s %9s %9s %9s\n", kind, l.Count, ms(l.P50), ms(l.P99), ms(l.P999), ms(l.Max))
		}
	}
	// A server's last words tell why it died; of one that passed they do not
	// matter.
	if r.Outcome != Passed && len(r.Output) > 0 {
		b.WriteString("\nthe server's last lines:\n")
		for _, line := range r.Output {
			fmt.Fprintf(&b, "  | %s\n", line)
		}
	}
	word := r.Summary()
	if colour {
		code := "1;31"
		if r.Outcome == Passed {
			code = "1;32"
		}
		word = "\x1b[" + code + "m" + word + "\x1b[0m"
	}
	fmt.Fprintf(&b, "\n%s\n", word)
	_, err := io.WriteString(w, b.String())
	return err
}

// kindNames are the kinds of client in the order in which reports show them.
var kindNames = []string{"per-connection", "keep-alive", "slow", "long-lived"}

// WriteJSON writes all that was measured and decided.
func WriteJSON(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}
