package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hupt/control"
	"hupt/doctor"
	"hupt/supervisor"
)

func same(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestStatusTable(t *testing.T) {
	instances := []control.Instance{
		{PID: 4242, Status: supervisor.Status{
			Name: "web", Command: []string{"nginx", "-g", "daemon off;", ""}, Path: "/usr/sbin/nginx", Dir: "/srv\x1b[2J",
			Started: now.Add(-51 * time.Hour), State: "running", Restarts: 4, Rollbacks: 1, Cut: 2, Injected: 310,
			Stops: map[string]uint64{"clone": 80, "signal": 1100, "seccomp:bind": 80},
			Generations: []supervisor.GenerationStatus{
				{
					Number: 4, State: "draining", PID: 4600, PIDs: []int{4600, 4601}, Started: now.Add(-time.Hour), RSS: 12 << 20, Connections: 2,
					Sockets: []supervisor.SocketStatus{{Network: "tcp4", Address: "0.0.0.0:80", Queue: 3, Backlog: 511}},
				},
				{
					Number: 5, State: "serving", PID: 4711, PIDs: []int{4711}, Started: now.Add(-12 * time.Second), RSS: 900, Connections: 1400,
					Sockets: []supervisor.SocketStatus{{Network: "tcp6", Address: "[::]:80", Adopted: true, Backlog: 4096}},
				},
			},
		}},
		{PID: 5000, Err: errors.New("x")},
		{PID: 5001, UID: 33, Err: errors.New("x")},
		{PID: 6000, UID: 1000, Status: supervisor.Status{Command: []string{"./api"}, State: "stopping", Started: now}},
	}
	var out bytes.Buffer
	writeStatus(&out, instances, 0, now)
	same(t, out.String(), `web: running, hupt's pid 4242, up 2d 3h
  command   nginx -g "daemon off;" ""
  path      /usr/sbin/nginx
  cwd       /srv\x1b[2J
  restarts  4, 1 rolled back, 2 connections cut
  stops     1260 (signal 1100, clone 80, seccomp:bind 80)
  injected  310 system calls

  GENERATION  STATE     PID   PROCESSES  AGE    MEMORY    CONNECTIONS
  4           draining  4600  2          1h 0m  12.0 MiB  2
  5           serving   4711  1          12s    900 B     1400

  SOCKET           GENERATION  QUEUE      HANDED OVER
  tcp4 0.0.0.0:80  4           3 of 511   no
  tcp6 [::]:80     5           0 of 4096  yes

hupt 5000: does not answer

hupt 5001 of uid 33: does not answer

./api: stopping, hupt's pid 6000 of uid 1000, up 0s
  command   ./api
  restarts  0, 0 rolled back, 0 connections cut
  stops     0
  injected  0 system calls

  GENERATION  STATE  PID  PROCESSES  AGE  MEMORY  CONNECTIONS
`)
}

// restart is a good restart as its events tell it.
var restart = []supervisor.Event{
	{Kind: supervisor.EventStarting, Generation: 3, PID: 4711, Time: now},
	{Kind: supervisor.EventReady, Generation: 3, After: 0.31, Time: now},
	{Kind: supervisor.EventServing, Generation: 3, After: 0.32, Time: now},
	{Kind: supervisor.EventDraining, Generation: 2, Connections: 12, Time: now},
	{Kind: supervisor.EventDraining, Generation: 2, Connections: 7, Time: now.Add(time.Second / 2)},
	{Kind: supervisor.EventDraining, Generation: 2, Connections: 1, Time: now.Add(2 * time.Second)},
	{Kind: supervisor.EventConfirmed, Generation: 3, After: 0.83, Time: now},
	{Kind: supervisor.EventDrained, Generation: 2, After: 12.345, Time: now},
	{Kind: supervisor.EventGone, Generation: 2, After: 12.4, Time: now},
}

// player gives events as a stream does, and then err.
func player(events []supervisor.Event, err error) func() (supervisor.Event, error) {
	return func() (supervisor.Event, error) {
		if len(events) == 0 {
			return supervisor.Event{}, err
		}
		e := events[0]
		events = events[1:]
		return e, nil
	}
}

func TestRestartOnATerminal(t *testing.T) {
	var out bytes.Buffer
	tell := newTeller(&out, false)
	tell.terminal = true
	if err := watchRestart(player(restart, io.EOF), tell, true); err != nil {
		t.Fatal(err)
	}
	same(t, out.String(), "starting generation 3 (pid 4711)…\nready after 0.31 s\nserving after 0.32 s\n"+
		"\rdraining generation 2: 12 connections…\x1b[K\rdraining generation 2: 7 connections…\x1b[K\rdraining generation 2: 1 connection…\x1b[K\n"+
		"generation 3 serves: confirmed after 0.83 s\ngeneration 2 drained after 12.3 s\ngeneration 2 is gone after 12.4 s\ndone\n")
}

func TestRestartOnPlainLines(t *testing.T) {
	var out bytes.Buffer
	if err := watchRestart(player(restart, io.EOF), newTeller(&out, false), true); err != nil {
		t.Fatal(err)
	}
	same(t, out.String(), `starting generation 3 (pid 4711)…
ready after 0.31 s
serving after 0.32 s
draining generation 2: 12 connections…
draining generation 2: 1 connection…
generation 3 serves: confirmed after 0.83 s
generation 2 drained after 12.3 s
generation 2 is gone after 12.4 s
done
`)
}

func TestRestartAsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := watchRestart(player(restart, io.EOF), newTeller(&out, true), true); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(restart) {
		t.Fatalf("%d lines for %d events", len(lines), len(restart))
	}
	for n, line := range lines {
		var e supervisor.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || !reflect.DeepEqual(e, restart[n]) {
			t.Errorf("line %d: %v, %+v", n, err, e)
		}
	}
}

func TestWatchRestart(t *testing.T) {
	starting := supervisor.Event{Kind: supervisor.EventStarting, Generation: 3}
	serving := supervisor.Event{Kind: supervisor.EventServing, Generation: 3}
	confirmed := supervisor.Event{Kind: supervisor.EventConfirmed, Generation: 3}
	failed := supervisor.Event{Kind: supervisor.EventFailed, Generation: 3, Reason: "it died; generation 2 serves on"}
	gone := errors.New("went away")
	for name, c := range map[string]struct {
		events  []supervisor.Event
		end     error
		drained bool
		want    string // of the error; empty: none
	}{
		"succeeds":             {[]supervisor.Event{starting, serving, confirmed}, gone, false, ""},
		"another one succeeds": {[]supervisor.Event{starting, {Kind: supervisor.EventConfirmed, Generation: 2}}, gone, false, "went away"},
		"fails":                {[]supervisor.Event{starting, failed}, gone, false, "restart failed: it died; generation 2 serves on"},
		"fails in probation":   {[]supervisor.Event{starting, serving, failed}, gone, false, "restart failed: it died; generation 2 serves on"},
		"only serves":          {[]supervisor.Event{starting, serving}, io.EOF, true, "restart failed: hupt did not say how it went"},
		"drained":              {[]supervisor.Event{starting, serving, confirmed}, io.EOF, true, ""},
		"hupt dies in a drain": {[]supervisor.Event{starting, serving, confirmed}, gone, true, "went away"},
		"ends without a word":  {[]supervisor.Event{starting}, io.EOF, false, "restart failed: hupt did not say how it went"},
		"the program can't":    {[]supervisor.Event{starting, {Kind: supervisor.EventStopped, ExitCode: 1, LastCall: "bind 1.2.3.4:80: no"}}, gone, false, "restart failed: the program ended with exit code 1; its last failed call: bind 1.2.3.4:80: no"},
		"the program ends":     {[]supervisor.Event{starting, {Kind: supervisor.EventStopped, ExitCode: 9}}, gone, false, "restart failed: the program ended with exit code 9"},
	} {
		err := watchRestart(player(c.events, c.end), newTeller(io.Discard, false), c.drained)
		if got := strings.TrimPrefix(errorText(err), "<nil>"); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestDescribeReviving: of a pool, it is one process that ended.
func TestDescribeReviving(t *testing.T) {
	same(t, describe(supervisor.Event{Kind: supervisor.EventReviving, Reason: "it exited"}), "the program ended: it exited; it is started again")
	same(t, describe(supervisor.Event{Kind: supervisor.EventReviving, Process: 2, Reason: "it exited", After: 0.5}), "process 2 ended: it exited; it is started again in 0.50 s")
}

// TestWatchScaleEnd: the end of the program after a scale that was made is no
// failure of it.
func TestWatchScaleEnd(t *testing.T) {
	scaled, stopped := supervisor.Event{Kind: supervisor.EventScaled, Processes: 1}, supervisor.Event{Kind: supervisor.EventStopped}
	if err := watchScale(player([]supervisor.Event{scaled, stopped}, io.EOF), newTeller(io.Discard, false)); err != nil {
		t.Error(err)
	}
	if err := watchScale(player([]supervisor.Event{stopped}, io.EOF), newTeller(io.Discard, false)); !errors.Is(err, errScaleFailed) {
		t.Error(err)
	}
}

// TestDescribeFailed: what is said to have failed is what did.
func TestDescribeFailed(t *testing.T) {
	for want, e := range map[string]supervisor.Event{
		"generation 3 failed: x":                                {Generation: 3, Reason: "x"},
		"process 2, generation 3 failed: x":                     {Process: 2, Generation: 3, Reason: "x"},
		"restart failed: process 2: x":                          {Source: supervisor.FailedRestart, Reason: "process 2: x"},
		"scale failed: scale to 3: process 4 ended":             {Source: supervisor.FailedScale, Reason: "scale to 3: process 4 ended"},
		"the program ended 2 times in a row (--revive-max)":     {Source: supervisor.FailedRevive, Reason: "the program ended 2 times in a row (--revive-max)"},
		"process 2: the program ended 2 times in a row (--xyz)": {Process: 2, Source: supervisor.FailedRevive, Reason: "the program ended 2 times in a row (--xyz)"},
	} {
		e.Kind = supervisor.EventFailed
		same(t, describe(e), want)
	}
}

func TestReporterLevels(t *testing.T) {
	events := []supervisor.Event{
		{Kind: supervisor.EventStarting, Generation: 2, PID: 9},
		{Kind: supervisor.EventAdopted, Generation: 2, Address: "tcp 127.0.0.1:80"},
		{Kind: supervisor.EventServing, Generation: 2, After: 1},
		{Kind: supervisor.EventConfirmed, Generation: 2, After: 1.5},
		{Kind: supervisor.EventHammer, Generation: 1, Connections: 3},
		{Kind: supervisor.EventKilled, Generation: 1, Reason: "it outlived its stop signal by 10.00 s"},
		{Kind: supervisor.EventGone, Generation: 1, Cut: 3},
		{Kind: supervisor.EventWarning, Reason: "no filter\nhere"},
		{Kind: supervisor.EventFailed, Generation: 3, Reason: "exited with code 1", After: 0.2},
		{Kind: supervisor.EventResumed, Generation: 2},
		{Kind: supervisor.EventStopped, Reason: "it exited with status 0 after 9.00 s"},
		{Kind: supervisor.EventStopped, Reason: "it was killed by SIGTERM after 9.00 s", ExitCode: 143, Asked: true},
	}
	quiet := "hupt: generation 1 is gone, 3 connections cut\nhupt: generation 3 failed: exited with code 1\n"
	normal := `hupt: starting generation 2 (pid 9)
hupt: generation 2 serves after 1.00 s
hupt: generation 1 is made to go with 3 connections left
hupt: generation 1 is killed: it outlived its stop signal by 10.00 s
hupt: generation 1 is gone, 3 connections cut
hupt: warning: no filter\nhere
hupt: generation 3 failed: exited with code 1
hupt: generation 2 accepts connections again
hupt: the program ended: it exited with status 0 after 9.00 s
`
	serves := "hupt: generation 2 serves after 1.00 s\n"
	verbose := strings.Replace(normal, serves,
		"hupt: generation 2 takes over tcp 127.0.0.1:80\n"+serves+"hupt: generation 2 is confirmed after 1.50 s\n", 1) +
		"hupt: the program ended: it was killed by SIGTERM after 9.00 s\n"
	for l, want := range map[level]string{levelQuiet: quiet, levelNormal: normal, levelVerbose: verbose} {
		var out bytes.Buffer
		r := newReporter(&out, l)
		for _, e := range events {
			r.event(e)
		}
		r.close()
		same(t, out.String(), want)
	}
}

// stuck is a stderr that nobody reads.
type stuck struct{ release chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.release; return len(p), nil }

func TestReporterNeverWaits(t *testing.T) {
	s := stuck{make(chan struct{})}
	r := newReporter(s, levelNormal)
	begun := time.Now()
	for range 10 * maxLines {
		r.event(supervisor.Event{Kind: supervisor.EventWarning})
	}
	r.close()
	if waited := time.Since(begun); waited > 10*flushTimeout {
		t.Errorf("waited %v", waited)
	}
	close(s.release)
}

func TestChecksTable(t *testing.T) {
	var out bytes.Buffer
	writeChecks(&out, []doctor.Check{
		{Name: "kernel", State: doctor.OK, Found: "6.1", Means: "new enough", Do: "nothing"},
		{Name: "no_new_privs", State: doctor.Warn, Found: "needed", Means: "setuid gains nothing", Do: "be root"},
	})
	same(t, out.String(), `ok    kernel        6.1
                    new enough
warn  no_new_privs  needed
                    setuid gains nothing
                    → be root

hupt works here
`)
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		seconds(0.314):                    "0.31 s",
		seconds(9.999):                    "10.0 s",
		seconds(61.24):                    "61.2 s",
		seconds(100):                      "1m 40s",
		age(-time.Second):                 "0s",
		age(59*time.Second + 999999999):   "59s",
		age(90 * time.Second):             "1m 30s",
		age(25*time.Hour + 3*time.Hour):   "1d 4h",
		size(0):                           "0 B",
		size(1023):                        "1023 B",
		size(1024):                        "1.0 KiB",
		size(150 << 20):                   "150 MiB",
		size(1024<<20 - 1):                "1.0 GiB",
		count(1, "connection"):            "1 connection",
		count(0, "connection"):            "0 connections",
		words([]string{"a b", "c", "$x"}): `"a b" c "$x"`,
		printable("é\n\x1b\u202e"):        `é\n\x1b\u202e`,
	} {
		same(t, got, want)
	}
}
