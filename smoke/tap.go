package smoke

import (
	"fmt"
	"io"
	"strings"
)

// tapEscape keeps a description on its line: # begins a directive in TAP.
var tapEscape = strings.NewReplacer(`\`, `\\`, "#", `\#`)

// WriteTAP writes the checks as TAP version 13, which every reader knows.
func WriteTAP(w io.Writer, r *Report) error {
	var b strings.Builder
	early := r.Outcome != Passed && r.Outcome != Failed || r.Reason != ""
	fmt.Fprintf(&b, "TAP version 13\n1..%d\n", len(r.Checks)+btoi(early))
	for i, c := range r.Checks {
		word, directive := "ok", ""
		switch c.Status {
		case Fail:
			word = "not ok"
		case Skip:
			directive = " # SKIP " + tapEscape.Replace(printable(c.Figure))
		}
		line := c.Title
		if c.Status != Skip {
			line += ": " + printable(c.Figure)
		}
		fmt.Fprintf(&b, "%s %d - %s%s\n", word, i+1, tapEscape.Replace(line), directive)
		if c.Status == Fail {
			tapDiagnostic(&b, c.Name, c.Detail)
		}
	}
	if early {
		fmt.Fprintf(&b, "not ok %d - the run goes to its end: %s\n", len(r.Checks)+1, tapEscape.Replace(printable(r.Reason)))
		tapDiagnostic(&b, r.Outcome.String(), r.Output)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// tapDiagnostic writes a YAML block, of the few forms of YAML that all readers
// of TAP know.
func tapDiagnostic(b *strings.Builder, check string, lines []string) {
	fmt.Fprintf(b, "  ---\n  check: %s\n", check)
	if len(lines) > 0 {
		b.WriteString("  detail: |\n")
		for _, line := range lines {
			fmt.Fprintf(b, "    %s\n", strings.TrimSpace(printable(line)))
		}
	}
	b.WriteString("  ...\n")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
