package smoke

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"hupt/load"
)

//go:embed report.html.tmpl
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"short": short, "ms": ms, "printable": printable, "shown": shown,
	"sign": func(s Status) string {
		return map[Status]string{Pass: "✓", Fail: "✗", Note: "!", Skip: "–"}[s]
	},
	"since": func(d time.Duration) string {
		if d == 0 {
			return "–"
		}
		return short(d)
	},
}).Parse(page))

// pageKind is a row of the table of latencies.
type pageKind struct {
	Name    string
	Index   int
	Result  load.Result
	Latency load.Latency
}

// WriteHTML writes the report as one page that needs nothing else: no network
// and no script.
func WriteHTML(w io.Writer, r *Report) error {
	m := &r.Measured
	var kinds []pageKind
	for i, name := range kindNames {
		if res, ok := m.ByKind[name]; ok {
			kinds = append(kinds, pageKind{name, i, res, res.Latency})
		}
	}
	data := struct {
		*Report
		M             *Measured
		Passed        bool
		Kinds         []pageKind
		Latency, Rate template.HTML
		When          string
	}{Report: r, M: m, Passed: r.Outcome == Passed, Kinds: kinds,
		When: r.Began.UTC().Format("2006-01-02 15:04:05 UTC")}
	if len(m.Samples) > 0 {
		// Drawn from numbers; the few texts in it are escaped there.
		data.Latency = template.HTML(latencyChart(m))
		data.Rate = template.HTML(rateChart(m))
	}
	if err := pageTemplate.Execute(w, data); err != nil {
		return fmt.Errorf("HTML report: %w", err)
	}
	return nil
}
