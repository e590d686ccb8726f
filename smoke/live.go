package smoke

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Live shows the progress of a run: on a terminal a few lines that change in
// place, elsewhere a line for everything that happens. Give its Progress to
// Options, and call End before anything else is written.
type Live struct {
	w        io.Writer
	terminal bool
	width    func() int
	history  []time.Duration // the slowest request of each tick
	shown    int             // lines that stand on the terminal
}

// NewLive makes a view. width tells the terminal's; nil if w is none.
func NewLive(w io.Writer, width func() int) *Live {
	return &Live{w: w, terminal: width != nil, width: width}
}

// Progress is for Options.Progress.
func (l *Live) Progress(p Progress) {
	if !l.terminal {
		if p.Event != "" {
			fmt.Fprintf(l.w, "%6.2fs %s\n", p.At.Seconds(), printable(p.Event))
		}
		return
	}
	var b strings.Builder
	l.erase(&b)
	width := max(l.width()-1, 20)
	if p.Event != "" {
		b.WriteString(clip(fmt.Sprintf("%6.2fs %s", p.At.Seconds(), printable(p.Event)), width) + "\n")
	} else {
		l.history = append(l.history, p.Slowest)
	}
	failures := fmt.Sprintf("%d failed", p.Failures)
	line := fmt.Sprintf("%5.1fs  %s", p.At.Seconds(), p.Doing)
	second := fmt.Sprintf("        %.0f/s  %d requests  %s  generation %d  restarts %d/%d", p.Rate, p.Requests, failures, p.Generation, p.Restarts, p.Asked)
	for _, s := range []string{line, second, "        " + sparkline(l.history, width-30)} {
		s = clip(s, width)
		if p.Failures > 0 {
			s = strings.Replace(s, failures, "\x1b[1;31m"+failures+"\x1b[0m", 1)
		}
		b.WriteString(s + "\n")
		l.shown++
	}
	io.WriteString(l.w, b.String())
}

// End takes away what changes in place.
func (l *Live) End() {
	var b strings.Builder
	l.erase(&b)
	io.WriteString(l.w, b.String())
}

func (l *Live) erase(b *strings.Builder) {
	if l.shown > 0 {
		fmt.Fprintf(b, "\x1b[%dA\x1b[J", l.shown)
	}
	l.shown = 0
}

// sparkline draws the last n values, and tells the largest of them.
func sparkline(values []time.Duration, n int) string {
	const bars = "▁▂▃▄▅▆▇█"
	if n < 1 || len(values) == 0 {
		return ""
	}
	values = values[max(0, len(values)-n):]
	var top time.Duration
	for _, v := range values {
		top = max(top, v)
	}
	var b strings.Builder
	for _, v := range values {
		i := 0
		if top > 0 {
			i = int(v * 7 / top)
		}
		b.WriteString(string([]rune(bars)[i]))
	}
	return fmt.Sprintf("%s slowest %s", b.String(), ms(top))
}
