package smoke

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// ghData and ghProperty escape what GitHub's runner reads of a workflow
// command; a server's words must not become a command of their own.
var (
	ghData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	ghProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// WriteGitHub writes an annotation for each failed check, as GitHub's runner
// reads them from a step's standard output.
func WriteGitHub(w io.Writer, r *Report) error {
	var b strings.Builder
	for _, c := range r.Checks {
		kind := map[Status]string{Fail: "error", Note: "notice"}[c.Status]
		if kind == "" || c.Name == "alive" { // that is told below
			continue
		}
		text := c.Figure
		for _, line := range c.Detail {
			text += "\n" + line
		}
		fmt.Fprintf(&b, "::%s title=%s::%s\n", kind, ghProperty.Replace("hupt smoke: "+c.Title), ghData.Replace(text))
	}
	if r.Reason != "" {
		fmt.Fprintf(&b, "::error title=%s::%s\n", ghProperty.Replace("hupt smoke: "+r.Outcome.String()), ghData.Replace(r.Reason+"\n"+strings.Join(r.Output, "\n")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteStepSummary writes what GitHub shows of a step, in Markdown.
func WriteStepSummary(w io.Writer, r *Report) error {
	var b strings.Builder
	sign := "❌"
	if r.Outcome == Passed {
		sign = "✅"
	}
	fmt.Fprintf(&b, "### %s hupt smoke: %s\n\n", sign, cell(r.Summary()))
	fmt.Fprintf(&b, "<code>%s</code>\n\n", cell(shown(r.Command)))
	b.WriteString("| | check | figure |\n|---|---|---|\n")
	signs := map[Status]string{Pass: "✅", Fail: "❌", Note: "⚠️", Skip: "➖"}
	for _, c := range r.Checks {
		figure := cell(c.Figure)
		if c.Status == Fail || c.Status == Note {
			for _, line := range c.Detail {
				figure += "<br>" + cell(line)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", signs[c.Status], cell(c.Title), figure)
	}
	if m := &r.Measured; m.Load.Latency.Count > 0 {
		b.WriteString("\n| latency | requests | p50 | p99 | p99.9 | max |\n|---|---:|---:|---:|---:|---:|\n")
		for _, kind := range kindNames {
			if l := m.ByKind[kind].Latency; l.Count > 0 {
				fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s |\n", kind, l.Count, ms(l.P50), ms(l.P99), ms(l.P999), ms(l.Max))
			}
		}
	}
	if r.Outcome != Passed && len(r.Output) > 0 {
		b.WriteString("\n<details><summary>the server's last lines</summary>\n\n<pre>")
		b.WriteString(html.EscapeString(strings.Join(r.Output, "\n")))
		b.WriteString("</pre>\n\n</details>\n")
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// cell escapes text for a cell of a Markdown table.
func cell(s string) string {
	s = html.EscapeString(printable(s))
	return strings.NewReplacer("|", "&#124;", "`", "&#96;", "*", "&#42;", "_", "&#95;", "[", "&#91;", "]", "&#93;").Replace(s)
}
