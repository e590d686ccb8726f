package smoke

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hupt/load"
)

// nasty is text that every format has to escape.
const nasty = "a<b> & \"c\" 'd' # ]]> | % : , \x1b[31m \x00 \xff\n::error::x"

// sampleReport is a report with all that a report may have.
func sampleReport(outcome Outcome) *Report {
	m := fine()
	for i := range 2000 {
		s := Sample{At: time.Duration(200+i*2) * time.Millisecond, Latency: time.Duration(200+i%700) * time.Microsecond, Kind: load.Kind(i % 4), Generation: 1 + i/700}
		if i%400 == 399 {
			s.Class = load.ClassReset
		}
		m.Samples = append(m.Samples, s)
	}
	m.BadStart = &BadStart{At: 3 * time.Second, RolledBack: true, Recovered: true, Reason: "exited with code 42"}
	m.Spans = append(m.Spans, Span{0, "bad start", 3 * time.Second, 3100 * time.Millisecond})
	if outcome != Passed {
		lost(m, load.ClassReset, 5)
		m.Load.First[0].Text = nasty
	}
	r := &Report{Version: "hupt test", Command: []string{"./server", "--name", nasty}, Began: time.Unix(1e9, 0), Took: 7 * time.Second,
		Outcome: outcome, ExitCode: int(outcome), Output: []string{printable(nasty), "hupt: starting generation 1 (pid 7)", "  bye: can't \"find\" it"}, Measured: *m}
	if outcome == Died {
		r.Reason = "it ended by itself, exit code 3 " + nasty
	}
	r.Checks = Judge(&r.Measured, Limits{})
	return r
}

func TestUsual(t *testing.T) {
	for line, want := range map[string]bool{
		"starting generation 1 (pid 7)": true, "generation 1 serves after 0.31 s": true, "generation 1 is gone after 0.1 s": true,
		"generation 2 failed after 0.1 s: it exited": false, "server: command not found": false,
	} {
		if usual.MatchString(line) != want {
			t.Errorf("%q: not %v", line, want)
		}
	}
}

func TestJUnit(t *testing.T) {
	for _, o := range []Outcome{Passed, Failed, Died} {
		var b bytes.Buffer
		if err := WriteJUnit(&b, sampleReport(o)); err != nil {
			t.Fatal(err)
		}
		// Read as a CI system does: by what JUnit says, not by our types.
		var suites struct {
			Suites []struct {
				Tests    int `xml:"tests,attr"`
				Failures int `xml:"failures,attr"`
				Errors   int `xml:"errors,attr"`
				Skipped  int `xml:"skipped,attr"`
				Cases    []struct {
					Name    string    `xml:"name,attr"`
					Failure *struct{} `xml:"failure"`
					Error   *struct{} `xml:"error"`
					Skipped *struct{} `xml:"skipped"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(b.Bytes(), &suites); err != nil {
			t.Fatalf("%v: %v\n%s", o, err, b.String())
		}
		s := suites.Suites[0]
		failures, errs, skipped := 0, 0, 0
		for _, c := range s.Cases {
			failures += btoi(c.Failure != nil)
			errs += btoi(c.Error != nil)
			skipped += btoi(c.Skipped != nil)
		}
		if len(s.Cases) != s.Tests || failures != s.Failures || errs != s.Errors || skipped != s.Skipped {
			t.Errorf("%v: counts do not agree: %+v", o, s)
		}
		if bad := failures + errs; (bad > 0) != (o != Passed) {
			t.Errorf("%v: %d failures", o, bad)
		}
	}
}

// The harness of Perl is the oldest reader of TAP.
func TestTAP(t *testing.T) {
	if exec.Command("perl", "-MTAP::Parser", "-e", "1").Run() != nil {
		t.Skip("Perl's TAP::Parser is not here")
	}
	const read = `undef $/; my $p = TAP::Parser->new({tap => scalar <STDIN>}); $p->run;
		print join(" ", $p->tests_run, scalar($p->failed), scalar($p->skipped), scalar($p->parse_errors))`
	for _, o := range []Outcome{Passed, Failed, Died} {
		r := sampleReport(o)
		var b bytes.Buffer
		if err := WriteTAP(&b, r); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("perl", "-MTAP::Parser", "-e", read)
		cmd.Stdin = bytes.NewReader(b.Bytes())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		f := strings.Fields(string(out))
		if len(f) != 4 || f[3] != "0" || (f[1] == "0") != (o == Passed) {
			t.Errorf("%v: Perl read %q of\n%s", o, out, b.String())
		}
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, sampleReport(Failed)); err != nil {
		t.Fatal(err)
	}
	var r struct {
		Outcome  string `json:"outcome"`
		ExitCode int    `json:"exit_code"`
		Checks   []struct{ Name, Status, Figure string }
		Measured struct {
			Load struct {
				Requests int64
				Latency  struct {
					P99 int64 `json:"p99_ns"`
				}
			}
			Restarts []struct {
				Serving int64 `json:"serving_ns"`
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Outcome != "failed" || r.ExitCode != 1 || len(r.Checks) < 15 || r.Measured.Load.Requests != 1000 ||
		r.Measured.Load.Latency.P99 < 1e6 || len(r.Measured.Restarts) != 2 || r.Measured.Restarts[0].Serving != 4e7 {
		t.Errorf("%+v", r)
	}
}

// No word of a server may become a command to GitHub's runner, nor markup.
func TestGitHub(t *testing.T) {
	var b bytes.Buffer
	if err := WriteGitHub(&b, sampleReport(Died)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 2 {
		t.Errorf("%d annotations: %q", len(lines), lines)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "::error title=hupt smoke%3A ") {
			t.Errorf("%q", line)
		}
	}
	b.Reset()
	if err := WriteStepSummary(&b, sampleReport(Died)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<b>") {
		t.Errorf("not escaped: %s", b.String())
	}
}

func TestHTML(t *testing.T) {
	for _, o := range []Outcome{Passed, Failed, Died} {
		var b bytes.Buffer
		if err := WriteHTML(&b, sampleReport(o)); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		for _, never := range []string{"http://", "https://", "<script", "@import", "url(", "<link", "ZgotmplZ", "<b> &"} {
			if strings.Contains(page, never) {
				t.Errorf("%v: the page has %q in it", o, never)
			}
		}
		if n := strings.Count(page, `class="failure"`); n != 5 {
			t.Errorf("%d failures are marked", n)
		}
		for _, always := range []string{"prefers-color-scheme: dark", "restart 1: starting", "every request answered", `class="dot k3"`} {
			if always == "every request answered" {
				always = "no request lost"
			}
			if !strings.Contains(page, always) {
				t.Errorf("the page lacks %q", always)
			}
		}
	}
	// With nothing measured it must still be written.
	if err := WriteHTML(io.Discard, &Report{Outcome: NeverReady}); err != nil {
		t.Error(err)
	}
}

func TestText(t *testing.T) {
	for _, colour := range []bool{false, true} {
		var b bytes.Buffer
		if err := WriteText(&b, sampleReport(Died), colour); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "\x1b[31m ") || strings.Contains(b.String(), "\x00") {
			t.Errorf("the server's escapes came through: %q", b.String())
		}
		if !colour && strings.Contains(b.String(), "\x1b") {
			t.Error("colour in plain text")
		}
	}
}

func TestLive(t *testing.T) {
	var b bytes.Buffer
	plain := NewLive(&b, nil)
	plain.Progress(Progress{At: time.Second, Event: "generation 2\nserves"})
	plain.Progress(Progress{At: time.Second, Doing: "x"})
	plain.End()
	if got := b.String(); got != "  1.00s generation 2·serves\n" {
		t.Errorf("%q", got)
	}
	b.Reset()
	live := NewLive(&b, func() int { return 60 })
	for i := range 3 {
		live.Progress(Progress{At: time.Second, Doing: "restart 1 of 5", Failures: 2, Slowest: time.Duration(i) * time.Millisecond})
	}
	live.End()
	if n := strings.Count(b.String(), "\x1b[3A\x1b[J"); n != 3 {
		t.Errorf("%d times taken away: %q", n, b.String())
	}
	if !strings.Contains(b.String(), "▁▄█") {
		t.Errorf("no sparkline: %q", b.String())
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	f := Files{JSON: "-", HTML: filepath.Join(dir, "r.html"), JUnit: filepath.Join(dir, "r.xml"), Out: &out}
	if err := f.Open(); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(sampleReport(Passed)); err != nil || !json.Valid(out.Bytes()) {
		t.Errorf("%v, %s", err, out.String())
	}
	bad := Files{HTML: filepath.Join(dir, "no", "r.html"), Out: &out}
	if err := bad.Open(); !errors.Is(err, ErrUsage) {
		t.Errorf("a report that can't be written: %v", err)
	}
}
