package smoke

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hupt/internal/machine"
)

// binaries returns where hupt and the zoo are: HUPT_BIN, if they were built there
// before, or a directory in which they are built, once.
var binaries = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("HUPT_BIN"); dir != "" {
		return dir, nil
	}
	dir, err := os.MkdirTemp("", "hupt-zoo-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "hupt/cmd/hupt", "hupt/smoke/testdata/zoo", "hupt/smoke/testdata/noptrace").CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("%v\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := binaries(); dir != "" && dir != os.Getenv("HUPT_BIN") {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// zoo returns options for a run on a server of the zoo.
func zoo(t *testing.T, kind, address string) Options {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	if address == "" {
		if address, err = FreePort(); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Hupt: filepath.Join(dir, "hupt"), Command: []string{filepath.Join(dir, "zoo"), kind, address, t.TempDir()},
		Duration: 2 * time.Second, Restarts: 2, Every: 400 * time.Millisecond,
		ReadyTimeout: machine.Patience(10 * time.Second), StopTimeout: min(machine.Patience(3*time.Second), 10*time.Second)}
}

func run(t *testing.T, o Options) *Report {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome == Forbidden {
		t.Skip(r.Reason)
	}
	var b strings.Builder
	WriteText(&b, r, false)
	t.Log("\n" + b.String())
	return r
}

func v6() string {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}

// Each server of the zoo is caught by the check that is made for it, and by no
// other.
func TestZoo(t *testing.T) {
	soon := func(o *Options) { o.ReadyTimeout = min(machine.Patience(4*time.Second), 15*time.Second) }
	for kind, tt := range map[string]struct {
		change  func(o *Options)
		outcome Outcome
		checks  map[string]Status // that don't pass
		reason  string
	}{
		"good":         {nil, Passed, nil, ""},
		"bad start":    {func(o *Options) { o.BadStart, o.Every, o.Command[1] = true, time.Second, "good" }, Passed, nil, ""},
		"forks":        {nil, Passed, nil, ""},
		"flood":        {nil, Passed, nil, ""},
		"stdin-end":    {nil, Passed, nil, ""},
		"late":         {nil, Passed, map[string]Status{"late": Note}, ""},
		"v6":           {nil, Passed, map[string]Status{"ipv4": Note}, ""},
		"drops":        {func(o *Options) { o.Rate, o.Restarts, o.Duration = 600, -1, 3*time.Second }, Failed, map[string]Status{"lost": Fail}, ""},
		"hole":         {nil, Failed, map[string]Status{"refused": Fail}, ""},
		"leaks":        {nil, Failed, map[string]Status{"fds": Fail}, ""},
		"ignores-term": {nil, Failed, map[string]Status{"stop": Fail}, ""},
		"child":        {nil, Failed, map[string]Status{"orphans": Fail}, ""},
		"body":         {nil, Failed, map[string]Status{"answers": Fail}, ""},
		"status":       {nil, Failed, map[string]Status{"answers": Fail}, ""},
		"slow":         {func(o *Options) { o.Rate = 60 }, Failed, map[string]Status{"latency": Fail}, ""},
		"foreign":      {nil, Died, nil, "exited with code 1; its last failed call: bind 192.0.2.1:80: cannot assign requested address"},
		"exits3":       {nil, Died, map[string]Status{"alive": Fail}, "exited with code 3"},
		"never":        {soon, NeverReady, nil, "it listens on nothing"},
		"stdin":        {soon, NeverReady, nil, "waits to read from its standard input"},
		"stdin-thread": {soon, NeverReady, nil, "waits to read from its standard input"},
		"garbage":      {nil, Passed, map[string]Status{"speaks": Note}, ""},
		"not http":     {func(o *Options) { soon(o); o.URL = "http://" + o.Command[2]; o.Command[1] = "garbage" }, NeverReady, nil, "not HTTP"},
		"other port":   {func(o *Options) { soon(o); o.URL = "http://127.0.0.1:1"; o.Command[1] = "good" }, NeverReady, nil, "not on what http://127.0.0.1:1 means"},
		"closes":       {soon, NeverReady, nil, "closes every connection at once"},
	} {
		t.Run(kind, func(t *testing.T) {
			address := ""
			switch kind {
			case "foreign":
				address = "192.0.2.1:80" // RFC 5737: nobody's
			case "v6":
				if address = v6(); address == "" {
					t.Skip("no IPv6 here")
				}
			}
			o := zoo(t, kind, address)
			if tt.change != nil {
				tt.change(&o)
			}
			t.Parallel()
			r := run(t, o)
			latency, _ := r.Check("latency")
			for n := 0; kind == "slow" && latency.Status == Pass && strings.Contains(latency.Figure, "the machine is busy") && n < 5; n++ {
				// Limits that follow a machine which is late by itself may be beyond
				// what is to be seen. That passes.
				r = run(t, o)
				latency, _ = r.Check("latency")
			}
			// On such a machine, what is beyond them is told all the same, and not
			// taken for a failure.
			busy := latency.Status == Note
			if busy && (len(latency.Detail) != 1 || !strings.Contains(latency.Detail[0], ", limit ") || !strings.Contains(latency.Detail[0], "too busy to tell")) {
				t.Errorf("a note of latencies that does not say why: %s %q", latency.Figure, latency.Detail)
			}
			outcome := tt.outcome
			if busy && kind == "slow" {
				outcome = Passed
			}
			if r.Outcome != outcome || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%v (%s), want %v", r.Outcome, r.Reason, outcome)
			}
			if r.Outcome == Died || r.Outcome == NeverReady {
				return // the other checks had nothing to see
			}
			for _, c := range r.Checks {
				want := tt.checks[c.Name]
				if want == "" && c.Status == Skip {
					continue
				}
				if kind == "hole" && c.Name == "lost" {
					continue // whoever is in the queue just then is reset; mostly nobody is
				}
				if want == "" {
					want = Pass
				}
				if c.Name == "served-by-new" && c.Status == Note && machine.Patience(time.Second) > 2*time.Second {
					continue // where all is slow, a restart may see no connection that could be told
				}
				if c.Name == "sent" && c.Status == Note && strings.Contains(c.Figure, "too busy to tell") {
					continue
				}
				if c.Status != want && !(busy && c.Name == "latency") {
					t.Errorf("%s: %s (%s), want %s", c.Name, c.Status, c.Figure, want)
				}
			}
			for name := range tt.checks {
				if _, ok := r.Check(name); !ok {
					t.Errorf("no check %s", name)
				}
			}
		})
	}
}

// TestNoPtrace: where ptrace is not allowed, the verdict says so, with a code
// of its own.
func TestNoPtrace(t *testing.T) {
	t.Parallel()
	o := zoo(t, "good", "")
	out, err := exec.Command(filepath.Join(filepath.Dir(o.Hupt), "noptrace"), append([]string{o.Hupt, "smoke", "--"}, o.Command...)...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != int(Forbidden) || !strings.Contains(string(out), "ptrace is forbidden here") {
		t.Errorf("%v, not exit status %d\n%s", err, Forbidden, out)
	}
}
