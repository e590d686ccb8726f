package generation

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A script is lines of "event => action, action…", where progress is
// offered/adopted/listening/waiting@kept/addresses, of which the last two may be left out. "restart" is prepared at once, "begin" is
// not. "wait 1s" moves the clock. ClearTimer is
// left out: a timer that fires too late is an event that must do no harm.

var timerNames = map[string]Timer{
	"ready": ReadyTimer, "settle": SettleTimer, "probation": ProbationTimer,
	"drain": DrainTimer, "kill": KillTimer, "daemon": DaemonTimer, "retry": RetryTimer,
}

// play runs a script on a new machine; what p leaves open is as `hupt run` has it.
func play(t *testing.T, p Policy, script string) {
	t.Helper()
	p.ReadyTimeout, p.KillAfter = time.Minute, 10*time.Second
	if p.DrainTimeout == 0 {
		p.DrainTimeout = time.Minute
	}
	m := New(p)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if d, ok := strings.CutPrefix(line, "wait "); ok {
			wait, err := time.ParseDuration(d)
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(wait)
			continue
		}
		what, want, ok := strings.Cut(line, "=>")
		if !ok {
			t.Fatalf("no => in %q", line)
		}
		e := parseEvent(t, strings.Fields(what))
		actions := m.Step(e, now)
		if len(actions) == 1 && strings.HasPrefix(actionWords(actions), "prepare ") && !strings.HasPrefix(what, "begin ") {
			actions = m.Step(Prepared{actions[0].(Prepare).N}, now) // mostly there is nothing wrong
		}
		got := actionWords(actions)
		if want = strings.TrimSpace(want); got != want {
			t.Fatalf("%s\n got %s\nwant %s", what, got, want)
		}
	}
}

func parseEvent(t *testing.T, f []string) Event {
	t.Helper()
	has := func(word string) bool {
		for _, w := range f {
			if w == word {
				return true
			}
		}
		return false
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%v in %q", err, f)
		}
		return n
	}
	n, last := 0, f[len(f)-1]
	if len(f) > 1 && f[0] != "stop" {
		n = number(f[1])
	}
	switch f[0] {
	case "restart", "begin":
		e := RestartWanted{N: n}
		e.ReadyTimeout, _ = time.ParseDuration(last)
		for _, m := range []Mode{StopFirst, Exec} {
			if has(m.String()) {
				e.Mode = m
			}
		}
		switch {
		case has("may-move"):
			e.Addresses = MayMove
		case has("keep"):
			e.Addresses = KeepAddresses
		}
		return e
	case "prepared":
		return Prepared{n}
	case "launched":
		if len(f) == 2 {
			return Launched{N: n}
		}
		if at := strings.Index(last, "@"); at > 0 { // offered@addresses
			return Launched{N: n, Offered: number(last[:at]), Addresses: number(last[at+1:])}
		}
		return Launched{N: n, Offered: number(last)}
	case "executed":
		return Executed{N: n, Old: number(f[3]), Offered: number(last)} // executed 2 in 1 offered
	case "execute-failed":
		return ExecuteFailed{n, strings.Join(f[2:], " ")}
	case "launch-failed":
		return LaunchFailed{n, strings.Join(f[2:], " ")}
	case "progress":
		var p Progress
		if k, err := fmt.Sscanf(last, "%d/%d/%d/%d@%d/%d", &p.Offered, &p.Adopted, &p.Listening, &p.Waiting, &p.Kept, &p.Addresses); err != nil && k != 4 {
			t.Fatal(err)
		}
		return Progressed{n, p}
	case "due":
		return ReviveDue{n}
	case "told":
		return Told{n}
	case "doubted":
		return Doubted{n, strings.Join(f[2:], " ")}
	case "call-failed":
		return CallFailed{n, strings.Join(f[2:], " ")}
	case "exit":
		return Exited{N: n, Main: has("main"), Last: has("last"), Exit: Exit{number(last), "exited with status " + last}}
	case "quiesced":
		return Quiesced{n}
	case "quiesce-failed":
		return QuiesceFailed{n, strings.Join(f[2:], " ")}
	case "resumed":
		return Resumed{n}
	case "counted":
		return Counted{N: n, Left: number(last)}
	case "listened":
		return Listened{n, last == "yes"}
	case "expired":
		return Expired{n, timerNames[last]}
	case "hammer":
		return HammerWanted{}
	case "stop":
		e := StopWanted{Now: has("now"), Sent: has("sent")}
		if !e.Now {
			e.Signal = number(f[1])
		}
		return e
	}
	t.Fatalf("no event %q", f)
	return nil
}

func actionWords(actions []Action) string {
	var out []string
	for _, a := range actions {
		if w := actionWord(a); w != "" {
			out = append(out, w)
		}
	}
	return strings.Join(out, ", ")
}

func actionWord(a Action) string {
	switch a := a.(type) {
	case Prepare:
		return fmt.Sprintf("prepare %d", a.N)
	case ReviveAfter:
		return fmt.Sprintf("revive after %v", a.After)
	case Launch:
		if a.Again > 0 {
			return fmt.Sprintf("launch %d again=%d", a.N, a.Again)
		}
		return fmt.Sprintf("launch %d", a.N)
	case Execute:
		return fmt.Sprintf("execute %d in %d", a.N, a.Old)
	case Recovered:
		return fmt.Sprintf("recovered %d", a.N)
	case Quiesce:
		return fmt.Sprintf("quiesce %d", a.N)
	case Resume:
		return fmt.Sprintf("resume %d", a.N)
	case Settled:
		return fmt.Sprintf("settled %d", a.N)
	case Admit:
		return fmt.Sprintf("admit %d", a.N)
	case Drain:
		return fmt.Sprintf("drain %d", a.N)
	case Kill:
		return fmt.Sprintf("kill %d", a.N)
	case CheckListening:
		return fmt.Sprintf("check %d", a.N)
	case Forget:
		return fmt.Sprintf("forget %d", a.N)
	case End:
		return fmt.Sprintf("end %d", a.Code)
	case ClearTimer:
		return ""
	case SetTimer:
		for name, timer := range timerNames {
			if timer == a.Timer {
				return fmt.Sprintf("timer %s %d %v", name, a.N, a.After)
			}
		}
	case Signal:
		w := fmt.Sprintf("signal %d", a.N)
		if a.All {
			w += " all"
		}
		if a.Signal == 0 {
			return w + " stop"
		}
		return fmt.Sprintf("%s %d", w, a.Signal)
	case Decided:
		if a.OK {
			return "decided ok"
		}
		return "decided failed"
	case Report:
		w := fmt.Sprintf("say %s %d", a.Kind, a.N)
		if a.Left != 0 {
			w += fmt.Sprintf(" left=%d", a.Left)
		}
		if a.Cut != 0 {
			w += fmt.Sprintf(" cut=%d", a.Cut)
		}
		if a.Reason != "" {
			w += " (" + a.Reason + ")"
		}
		return w
	}
	return fmt.Sprintf("%T", a)
}
