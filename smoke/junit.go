package smoke

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The elements of JUnit's XML that CI systems read.
type (
	junitSuites struct {
		XMLName  xml.Name   `xml:"testsuites"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Time     string     `xml:"time,attr"`
		Suite    junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string          `xml:"name,attr"`
		Tests     int             `xml:"tests,attr"`
		Failures  int             `xml:"failures,attr"`
		Errors    int             `xml:"errors,attr"`
		Skipped   int             `xml:"skipped,attr"`
		Time      string          `xml:"time,attr"`
		Timestamp string          `xml:"timestamp,attr"`
		Cases     []junitCase     `xml:"testcase"`
		Out       *junitCharacter `xml:"system-out,omitempty"`
	}
	junitCase struct {
		Name    string          `xml:"name,attr"`
		Class   string          `xml:"classname,attr"`
		Time    string          `xml:"time,attr"`
		Failure *junitProblem   `xml:"failure,omitempty"`
		Error   *junitProblem   `xml:"error,omitempty"`
		Skipped *junitSkipped   `xml:"skipped,omitempty"`
		Out     *junitCharacter `xml:"system-out,omitempty"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
	junitCharacter struct {
		Text string `xml:",chardata"`
	}
)

// WriteJUnit writes the checks as the test cases of a suite. A run that ended
// early has a case "run" with an error, so that it can't be taken for a pass.
func WriteJUnit(w io.Writer, r *Report) error {
	seconds := fmt.Sprintf("%.3f", r.Took.Seconds())
	suite := junitSuite{Name: "hupt smoke " + shown(r.Command), Time: seconds,
		Timestamp: r.Began.UTC().Format("2006-01-02T15:04:05")}
	for _, c := range r.Checks {
		k := junitCase{Name: c.Title, Class: "hupt.smoke." + c.Name, Time: "0"}
		detail := printable(c.Figure)
		for _, line := range c.Detail {
			detail += "\n" + printable(line)
		}
		switch c.Status {
		case Fail:
			suite.Failures++
			k.Failure = &junitProblem{Message: printable(c.Figure), Type: c.Name, Text: detail}
		case Skip:
			suite.Skipped++
			k.Skipped = &junitSkipped{printable(c.Figure)}
		default:
			k.Out = &junitCharacter{detail}
		}
		suite.Cases = append(suite.Cases, k)
	}
	if r.Outcome != Passed && r.Outcome != Failed || r.Reason != "" {
		suite.Errors++
		suite.Cases = append(suite.Cases, junitCase{Name: "the run goes to its end", Class: "hupt.smoke.run", Time: "0",
			Error: &junitProblem{Message: printable(r.Reason), Type: r.Outcome.String(), Text: strings.Join(r.Output, "\n")}})
	}
	suite.Tests = len(suite.Cases)
	if len(r.Output) > 0 {
		suite.Out = &junitCharacter{strings.Join(r.Output, "\n")}
	}
	all := junitSuites{Name: "hupt smoke", Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Time: seconds, Suite: suite}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
