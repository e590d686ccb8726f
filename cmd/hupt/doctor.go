package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"hupt/control"
	"hupt/doctor"
)

var errMissing = errors.New("hupt can't work here")

type doctorCmd struct {
	JSON bool `name:"json" help:"Print the checks as JSON."`
	runtimeDir
}

// Run prints the checks; it fails if hupt can't work here.
func (c *doctorCmd) Run(std *streams) error {
	checks := doctor.Examine(control.RuntimeDir(c.RuntimeDir))
	if c.JSON {
		encoder := json.NewEncoder(std.out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(map[string]any{"works": doctor.Works(checks), "checks": checks})
		if err != nil {
			return err
		}
	} else {
		writeChecks(std.out, checks)
	}
	if doctor.Works(checks) {
		return nil
	}
	var failed []string
	for _, check := range checks {
		if check.State == doctor.Fail {
			failed = append(failed, check.Name)
		}
	}
	return fmt.Errorf("%w: %s", errMissing, strings.Join(failed, ", "))
}

// writeChecks prints a line a check, and below those that are not ok what it
// means and what to do.
func writeChecks(w io.Writer, checks []doctor.Check) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(table, "%s\t%s\t%s\n", c.State, c.Name, printable(c.Found))
		if c.Means != "" {
			fmt.Fprintf(table, "\t\t%s\n", printable(c.Means))
		}
		if c.Do != "" && c.State != doctor.OK {
			fmt.Fprintf(table, "\t\t→ %s\n", printable(c.Do))
		}
	}
	table.Flush()
	if doctor.Works(checks) {
		fmt.Fprintln(w, "\nhupt works here")
	}
}
