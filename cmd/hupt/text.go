package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hupt/supervisor"
)

// What hupt says is lower case, short, and without a full stop.

// describe says in words what happened.
func describe(e supervisor.Event) string {
	generation := fmt.Sprintf("generation %d", e.Generation)
	if e.Process != 0 {
		generation = fmt.Sprintf("process %d, %s", e.Process, generation)
	}
	switch e.Kind {
	case supervisor.EventStarting:
		return fmt.Sprintf("starting %s (pid %d)%s", generation, e.PID, why(e))
	case supervisor.EventQuiesced:
		return fmt.Sprintf("%s accepts no more; connections wait", generation)
	case supervisor.EventAdopted:
		return fmt.Sprintf("%s takes over %s", generation, printable(e.Address))
	case supervisor.EventReady:
		return fmt.Sprintf("%s is ready%s", generation, after(e))
	case supervisor.EventServing:
		return fmt.Sprintf("%s serves%s", generation, after(e))
	case supervisor.EventConfirmed:
		if e.Processes != 0 {
			return fmt.Sprintf("%s restarted%s%s", processes(e.Processes), after(e), letGo(e))
		}
		return fmt.Sprintf("%s is confirmed%s%s", generation, after(e), letGo(e))
	case supervisor.EventScaled:
		return fmt.Sprintf("scaled to %s%s", processes(e.Processes), after(e))
	case supervisor.EventDraining:
		return fmt.Sprintf("%s drains %s", generation, left(e))
	case supervisor.EventDrained:
		return fmt.Sprintf("%s has no connection left%s", generation, after(e))
	case supervisor.EventHammer:
		return fmt.Sprintf("%s is made to go with %s left", generation, count(e.Connections, "connection"))
	case supervisor.EventStopping:
		return fmt.Sprintf("stopping %s", generation)
	case supervisor.EventKilled:
		if e.Reason == "" {
			return fmt.Sprintf("%s is killed", generation)
		}
		return fmt.Sprintf("%s is killed: %s", generation, printable(e.Reason))
	case supervisor.EventGone:
		if e.Cut > 0 {
			return fmt.Sprintf("%s is gone%s, %s cut", generation, after(e), count(e.Cut, "connection"))
		}
		return fmt.Sprintf("%s is gone%s", generation, after(e))
	case supervisor.EventFailed:
		return failed(e, generation)
	case supervisor.EventRetry:
		return fmt.Sprintf("the version before could not be started again: %s; connections wait", printable(e.Reason))
	case supervisor.EventResumed:
		return fmt.Sprintf("%s accepts connections again%s", generation, after(e))
	case supervisor.EventReviving:
		who := "the program"
		if e.Process != 0 {
			who = fmt.Sprintf("process %d", e.Process)
		}
		text := fmt.Sprintf("%s ended: %s; it is started again", who, printable(e.Reason))
		if e.After > 0 {
			text += " in " + seconds(e.After)
		}
		return text
	case supervisor.EventStopped:
		if e.Reason != "" { // the last failed call is in it
			return "the program ended: " + printable(e.Reason)
		}
		text := fmt.Sprintf("the program ended with exit code %d", e.ExitCode)
		if e.LastCall != "" {
			text += "; its last failed call: " + printable(e.LastCall)
		}
		return text
	case supervisor.EventOutput:
		return printable(e.Source) + ": " + printable(e.Reason)
	case supervisor.EventWarning:
		return "warning: " + printable(e.Reason)
	}
	return printable(strings.TrimSpace(fmt.Sprintf("%s: %s %s", generation, e.Kind, e.Reason)))
}

// failed says what failed: a generation, or, if the event is of none, what its
// source says.
func failed(e supervisor.Event, generation string) string {
	reason := printable(e.Reason)
	switch {
	case e.Generation != 0:
		return fmt.Sprintf("%s failed: %s", generation, reason)
	case e.Source == supervisor.FailedScale:
		return "scale failed: " + reason
	case e.Source == supervisor.FailedRevive && e.Process != 0:
		return fmt.Sprintf("process %d: %s", e.Process, reason)
	case e.Source == supervisor.FailedRevive:
		return reason
	}
	return "restart failed: " + reason
}

// left is how many connections a drain has left, and in what state they are.
func left(e supervisor.Event) string {
	s := count(e.Connections, "connection")
	for _, n := range []struct {
		n    int
		what string
	}{{e.Busy, "busy"}, {e.Idle, "idle"}, {e.Closing, "closing"}} {
		if n.n > 0 {
			s += fmt.Sprintf(", %d %s", n.n, n.what)
		}
	}
	return s
}

// why is the reason, if there is one.
func why(e supervisor.Event) string {
	if e.Reason == "" {
		return ""
	}
	return ": " + printable(e.Reason)
}

// letGo says which addresses of the version before are served no more.
func letGo(e supervisor.Event) string {
	if len(e.LetGo) == 0 {
		return ""
	}
	return "; it let go of " + printable(strings.Join(e.LetGo, ", "))
}

// after says how long since the restart began.
func after(e supervisor.Event) string {
	if e.After <= 0 {
		return ""
	}
	return " after " + seconds(e.After)
}

// seconds has three digits where they matter.
func seconds(s float64) string {
	if s < 9.995 {
		return fmt.Sprintf("%.2f s", s)
	}
	if s < 99.95 {
		return fmt.Sprintf("%.1f s", s)
	}
	return age(time.Duration(s * float64(time.Second)))
}

// age is the two largest units of a duration.
func age(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd %dh", s/86400, s/3600%24)
}

// size is a number of bytes in binary units.
func size(n int64) string {
	value, unit := float64(n), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for value >= 1023.5 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 || value >= 99.95 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func processes(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}

// printable shows what a terminal would obey, or what would break a line, as
// the escapes of Go.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// words shows a command so that its arguments can be told apart.
func words(command []string) string {
	shown := make([]string, len(command))
	for n, word := range command {
		shown[n] = printable(word)
		if word == "" || shown[n] != word || strings.ContainsAny(word, " '\"\\$`*?[]{}()<>|&;#~") {
			shown[n] = strconv.Quote(word)
		}
	}
	return strings.Join(shown, " ")
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
