package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	ossignal "os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/smoke"
)

type smokeCmd struct {
	Command []string `arg:"" optional:"" passthrough:"partial" placeholder:"CMD" name:"cmd" help:"The server and its arguments; without one, a small server of hupt's own."`

	URL          string   `name:"url" group:"What to ask" help:"Ask this alone; by default all that it listens on is asked for what it speaks." placeholder:"URL"`
	Method       string   `group:"What to ask" default:"GET" placeholder:"GET" help:"The method of requests."`
	Header       []string `group:"What to ask" sep:"none" placeholder:"'NAME: VALUE'" help:"A header of requests; may be given again."`
	Body         string   `group:"What to ask" placeholder:"TEXT" help:"The body of requests."`
	ExpectStatus int      `group:"What to ask" placeholder:"N" help:"The right status; by default the first one that comes."`
	ExpectBody   string   `group:"What to ask" placeholder:"REGEXP" help:"What a right body matches; by default it is like the first one, but for its numbers."`
	TCPSend      string   `name:"tcp-send" group:"What to ask" placeholder:"TEXT" help:"Send this instead of HTTP; \\r\\n and other escapes of Go."`
	TCPExpect    string   `name:"tcp-expect" group:"What to ask" placeholder:"TEXT" help:"How the answer to --tcp-send must begin."`
	OwnTests     string   `name:"run" group:"What to ask" placeholder:"COMMAND" help:"Run your own tests while restarts go on; $HUPT_SMOKE_URL and _ADDRESS tell them where."`
	RunTimeout   duration `group:"What to ask" default:"10m" placeholder:"10m" help:"How long they may take."`

	Rate     float64  `group:"The load" default:"200" placeholder:"200" help:"Requests a second, sent at fixed times."`
	Clients  int      `group:"The load" default:"16" placeholder:"16" help:"Connections at once."`
	Duration duration `group:"The load" default:"4s" placeholder:"4s" help:"How long the load goes on at least."`
	Timeout  duration `group:"The load" default:"5s" placeholder:"5s" help:"How long an answer may take."`
	Settle   duration `group:"The load" default:"200ms" placeholder:"200ms" help:"For how long no new socket must appear before it begins."`

	Restarts     *int     `group:"The restarts" placeholder:"5" help:"How many; by default 5, or as many as fit into 8 s."`
	Every        duration `group:"The restarts" default:"500ms" placeholder:"500ms" help:"From one to the next, at least."`
	ReadyTimeout duration `group:"The restarts" default:"10s" placeholder:"10s" help:"How long a start may take."`
	DrainTimeout deadline `group:"The restarts" default:"5s" placeholder:"5s" help:"How long an old version may finish its connections; negative or never: as long as it wants."`
	StopTimeout  duration `group:"The restarts" default:"3s" placeholder:"3s" help:"How long it may take to stop on TERM."`
	Upgrade      string   `group:"The restarts" placeholder:"FILE" help:"A second version of the program: restart into it and back."`
	BadStart     bool     `group:"The restarts" help:"See, too, that a version that fails is rolled back."`
	BadVersion   string   `group:"The restarts" placeholder:"FILE" help:"That version; by default a program that exits at once."`

	MaxFailures int64    `group:"The limits" default:"0" placeholder:"0" help:"Failed requests that are allowed."`
	MaxP99      duration `name:"max-p99" group:"The limits" placeholder:"DUR" help:"That 99 of 100 requests must not exceed."`
	MaxLatency  duration `group:"The limits" placeholder:"DUR" help:"That no request must exceed."`

	JSON  bool   `name:"json" xor:"stdout" group:"The report" help:"Print it as JSON."`
	TAP   bool   `name:"tap" xor:"stdout" group:"The report" help:"Print it as TAP."`
	JUnit string `name:"junit" group:"The report" placeholder:"FILE" help:"Write it as JUnit's XML."`
	HTML  string `name:"html" group:"The report" placeholder:"FILE" help:"Write it as a page with a chart of every request."`
	Quiet bool   `short:"q" group:"The report" help:"Don't tell how it goes."`
}

// smokeServerCmd is the server that hupt carries in itself for smoke.
type smokeServerCmd struct {
	Address string `arg:""`
}

// Run serves until it is killed.
func (c *smokeServerCmd) Run() error { return smoke.Demo(c.Address) }

// Run makes a smoke test and exits with its outcome.
func (c *smokeCmd) Run(std *streams) error {
	o, err := c.options()
	if err != nil {
		return smokeUsage(err)
	}
	files := smoke.Files{JUnit: c.JUnit, HTML: c.HTML, Out: std.out}
	people := std.out
	if c.JSON || c.TAP {
		people = std.err // standard output is for programs
	}
	if c.JSON {
		files.JSON = "-"
	}
	if c.TAP {
		files.TAP = "-"
	}
	if os.Getenv("GITHUB_ACTIONS") == "true" {
		files.GitHub = !c.JSON && !c.TAP
		files.StepSummary = os.Getenv("GITHUB_STEP_SUMMARY")
	}
	if err := files.Open(); err != nil {
		return smokeUsage(err)
	}
	defer files.Close()
	live := smoke.NewLive(people, terminalWidth(people))
	if !c.Quiet {
		o.Progress = live.Progress
	}
	ctx, cancel := ossignal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	report, err := smoke.Run(ctx, o)
	live.End()
	if report == nil {
		return smokeUsage(err)
	}
	if len(c.Command) == 0 {
		report.Command[0] = "hupt" // wherever it lies
	}
	report.Version = strings.TrimPrefix(version(), "hupt ")
	if !c.JSON && !c.TAP {
		if err := smoke.WriteText(people, report, isTerminal(people)); err != nil {
			return err
		}
	}
	if err := files.Write(report); err != nil {
		return &codeError{int(smoke.Failed), fmt.Errorf("the report could not be written: %w", err)}
	}
	if report.Outcome == smoke.WrongUsage {
		// Like every other wrong usage, which shows before there is a report.
		return &codeError{report.ExitCode, errors.New(report.Reason)}
	}
	return &codeError{code: report.ExitCode}
}

// smokeUsage gives errors of usage smoke's own exit code for them.
func smokeUsage(err error) error {
	code := int(smoke.Failed)
	if errors.Is(err, smoke.ErrUsage) {
		code = int(smoke.WrongUsage)
	}
	return &codeError{code, fmt.Errorf("%s; see: hupt smoke --help", strings.TrimPrefix(err.Error(), smoke.ErrUsage.Error()+": "))}
}

func badFlag(format string, args ...any) error {
	return fmt.Errorf("%w: %s", smoke.ErrUsage, fmt.Sprintf(format, args...))
}

// options turns flags into options.
func (c *smokeCmd) options() (smoke.Options, error) {
	o := smoke.Options{
		URL: c.URL, Method: c.Method, Body: []byte(c.Body), ExpectStatus: c.ExpectStatus, UserTests: c.OwnTests, TestTimeout: time.Duration(c.RunTimeout),
		Rate: c.Rate, Clients: c.Clients, Duration: time.Duration(c.Duration), Timeout: time.Duration(c.Timeout), Settle: time.Duration(c.Settle),
		Every: time.Duration(c.Every), ReadyTimeout: time.Duration(c.ReadyTimeout), DrainTimeout: time.Duration(c.DrainTimeout), StopTimeout: time.Duration(c.StopTimeout),
		Upgrade: c.Upgrade, BadStart: c.BadStart, BadVersion: c.BadVersion,
		Limits: smoke.Limits{MaxFailures: c.MaxFailures, MaxP99: time.Duration(c.MaxP99), MaxLatency: time.Duration(c.MaxLatency)},
	}
	var err error
	if o.Hupt, err = os.Executable(); err != nil {
		return o, err
	}
	if c.Restarts != nil {
		if o.Restarts = *c.Restarts; o.Restarts <= 0 {
			o.Restarts = -1
		}
	}
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return o, badFlag("--header %q is not like 'Name: value'", h)
		}
		if o.Header == nil {
			o.Header = http.Header{}
		}
		o.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if c.ExpectBody != "" {
		if o.ExpectBody, err = regexp.Compile(c.ExpectBody); err != nil {
			return o, badFlag("--expect-body: %v", err)
		}
	}
	if o.TCPSend, err = unescape("--tcp-send", c.TCPSend); err != nil {
		return o, err
	}
	if o.TCPExpect, err = unescape("--tcp-expect", c.TCPExpect); err != nil {
		return o, err
	}
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) > 0 {
		o.Command = command
		return o, nil
	}
	address, err := smoke.FreePort()
	if err != nil {
		return o, err
	}
	o.Command = []string{o.Hupt, "smoke-server", address}
	o.BadStart = true
	return o, nil
}

// unescape reads \n, \x00 and the like.
func unescape(flag, text string) ([]byte, error) {
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		return nil, badFlag("%s %q has an escape that Go does not know", flag, text)
	}
	return []byte(s), nil
}

// terminalWidth tells how wide w is; nil if it is no terminal.
func terminalWidth(w io.Writer) func() int {
	if !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return func() int {
		size, err := unix.IoctlGetWinsize(int(w.(*os.File).Fd()), unix.TIOCGWINSZ)
		if err != nil || size.Col == 0 {
			return 80
		}
		return int(size.Col)
	}
}
