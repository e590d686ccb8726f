package smoke

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"

	"hupt/load"
)

// The charts are drawn as SVG without a script, so that they show in mail, in
// artifact viewers that forbid scripts, and on paper.
const (
	chartLeft, chartRight = 58, 1090
	latencyTop            = 26
	latencyBottom         = 330
	rateTop, rateBottom   = 14, 130
)

// axis maps time to x.
type axis struct{ from, to time.Duration }

func (a axis) x(t time.Duration) float64 {
	return chartLeft + float64(t-a.from)/float64(max(a.to-a.from, 1))*(chartRight-chartLeft)
}

// logScale maps latency to y, a decade by a decade.
type logScale struct{ low, high float64 } // decades of seconds

func newLogScale(samples []Sample) logScale {
	low, high := 10*time.Second, time.Millisecond
	for _, s := range samples {
		low, high = min(low, s.Latency), max(high, s.Latency)
	}
	low = max(low, 10*time.Microsecond)
	l := logScale{math.Floor(math.Log10(low.Seconds())), math.Ceil(math.Log10(high.Seconds()))}
	if l.high <= l.low {
		l.high = l.low + 1
	}
	return l
}

func (l logScale) y(d time.Duration) float64 {
	v := math.Log10(math.Max(d.Seconds(), 1e-6))
	v = math.Min(math.Max(v, l.low), l.high)
	return latencyBottom - (v-l.low)/(l.high-l.low)*(latencyBottom-latencyTop)
}

func (l logScale) lines(b *strings.Builder) {
	for d := l.low; d <= l.high; d++ {
		v := time.Duration(math.Pow(10, d) * float64(time.Second))
		y := l.y(v)
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`,
			chartLeft, chartRight, y, y, chartLeft-6, y+4, decade(v))
	}
}

func decade(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	case d >= time.Millisecond:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%d µs", d.Round(time.Microsecond).Microseconds())
}

// bands shades the phases of restarts.
func bands(b *strings.Builder, a axis, spans []Span, top, bottom int, names bool) {
	for _, s := range spans {
		class := "starting"
		switch {
		case s.Restart == 0:
			class = "bad"
		case s.Name == "draining":
			class = "draining"
		}
		x0, x1 := a.x(max(s.From, a.from)), a.x(min(max(s.To, a.from), a.to))
		low := bottom
		if class == "draining" {
			low = top + 8 // drains are long and overlap: a strip
		}
		fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s, %s to %s</title></rect>`,
			class, x0, top, math.Max(x1-x0, 1.5), low-top, html.EscapeString(s.title()), short(s.From), short(s.To))
		if names && s.Name != "draining" {
			label, anchor := fmt.Sprint(s.Restart), "middle"
			if s.Restart == 0 {
				label, anchor = "bad", "end" // a good one follows at once
			}
			fmt.Fprintf(b, `<text class="mark" x="%.1f" y="%d" text-anchor="%s">%s</text>`, (x0+x1)/2, top-8, anchor, label)
		}
	}
}

func timeTicks(b *strings.Builder, a axis, y int) {
	step := time.Second
	for _, s := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, time.Hour} {
		if step = s; (a.to-a.from)/s <= 14 {
			break
		}
	}
	for t := (a.from + step - 1) / step * step; t <= a.to; t += step {
		fmt.Fprintf(b, `<text class="tick" x="%.1f" y="%d" text-anchor="middle">%g s</text>`, a.x(t), y, t.Seconds())
	}
}

// latencyChart draws the latency of every request, at the time of its end.
func latencyChart(m *Measured) string {
	a := axis{m.LoadFrom, max(m.LoadTo, m.LoadFrom+time.Second)}
	scale := newLogScale(m.Samples)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 1100 %d" role="img" aria-label="latency of every request over time">`, latencyBottom+30)
	bands(&b, a, m.Spans, latencyTop, latencyBottom, true)
	scale.lines(&b)
	timeTicks(&b, a, latencyBottom+18)
	var dots [4]strings.Builder
	seen := map[[3]int]bool{} // what would be drawn twice is drawn once
	var crosses strings.Builder
	for _, s := range m.Samples {
		x, y := a.x(s.At), scale.y(s.Latency)
		if s.Class != load.ClassNone {
			fmt.Fprintf(&crosses, `<path class="failure" d="M%.1f %.1fl8 8m0 -8l-8 8"><title>%s at %s</title></path>`, x-4, y-4, s.Class, short(s.At))
			continue
		}
		k := int(s.Kind)
		at := [3]int{k, int(x * 2), int(y * 2)}
		if k < 0 || k >= len(dots) || seen[at] {
			continue
		}
		seen[at] = true
		fmt.Fprintf(&dots[k], "M%g %gh0", float64(at[1])/2, float64(at[2])/2)
	}
	for k := range dots {
		if dots[k].Len() > 0 {
			fmt.Fprintf(&b, `<path class="dot k%d" d="%s"/>`, k, dots[k].String())
		}
	}
	b.WriteString(crosses.String())
	b.WriteString(`</svg>`)
	return b.String()
}

// rateChart draws the requests a second, by the generation that served.
func rateChart(m *Measured) string {
	a := axis{m.LoadFrom, max(m.LoadTo, m.LoadFrom+time.Second)}
	const bins = 130
	width := max((a.to-a.from)/bins, 50*time.Millisecond)
	n := int((a.to-a.from)/width) + 1
	counts := make([]map[int]int, n)
	most := 1
	for _, s := range m.Samples {
		i := int((s.At - a.from) / width)
		if i < 0 || i >= n {
			continue
		}
		if counts[i] == nil {
			counts[i] = map[int]int{}
		}
		counts[i][s.Generation]++
		total := 0
		for _, c := range counts[i] {
			total += c
		}
		most = max(most, total)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 1100 %d" role="img" aria-label="requests a second by generation">`, rateBottom+30)
	top := float64(most) / width.Seconds()
	fmt.Fprintf(&b, `<text class="tick" x="%d" y="%d" text-anchor="end">%.0f/s</text><line class="grid" x1="%d" x2="%d" y1="%d" y2="%d"/>`,
		chartLeft-6, rateTop+4, top, chartLeft, chartRight, rateTop, rateTop)
	for i, c := range counts {
		y := float64(rateBottom)
		for _, g := range m.Generations {
			k := c[g.Number]
			if k == 0 {
				continue
			}
			h := float64(k) / float64(most) * (rateBottom - rateTop)
			y -= h
			x0, x1 := a.x(a.from+time.Duration(i)*width), a.x(min(a.from+time.Duration(i+1)*width, a.to))
			fmt.Fprintf(&b, `<rect class="g%d" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>generation %d</title></rect>`,
				g.Number%6, x0, y, math.Max(x1-x0-0.6, 0.4), h, g.Number)
		}
	}
	fmt.Fprintf(&b, `<line class="axis" x1="%d" x2="%d" y1="%d" y2="%d"/>`, chartLeft, chartRight, rateBottom, rateBottom)
	timeTicks(&b, a, rateBottom+18)
	b.WriteString(`</svg>`)
	return b.String()
}
