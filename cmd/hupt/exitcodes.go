package main

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

	"hupt/control"
	"hupt/supervisor"
)

// The exit codes of hupt. `hupt run` gives the program's own, so its failures
// have numbers that programs seldom use: those of env(1) and shells (125 to
// 127), and just below.
const (
	exitOK            = 0
	exitFailed        = 1
	exitUsage         = 2
	exitNoInstance    = 3
	exitSeveral       = 4
	exitForeign       = 5
	exitBusy          = 6
	exitNoAnswer      = 7
	exitPtrace        = 120
	exitSeccomp       = 121
	exitPanic         = supervisor.ExitPanic
	exitInternal      = 125
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // plus the signal's number
)

// exitCodes is the table that the help and the README show.
var exitCodes = []struct{ code, commands, means string }{
	{"0", "all", "done; of restart: the new version serves"},
	{"1", "restart, rollback, scale", "it failed; what served before serves on"},
	{"1", "doctor", "something that hupt can't do without is missing"},
	{"2", "all but smoke", "wrong usage"},
	{"3", "restart, rollback, scale, status, stop", "no such instance or process"},
	{"4", "restart, rollback, scale, status, stop", "several instances match"},
	{"5", "restart, rollback, scale, status, stop", "it belongs to someone else"},
	{"6", "restart, rollback, scale", "a restart is in progress, the first version listens on nothing yet, or the instance is stopping"},
	{"7", "restart, rollback, scale, status, stop", "the instance does not answer, or its control socket is gone"},
	{"0-5", "smoke", "passed; a check failed; never ready; the server died; ptrace is forbidden; wrong usage"},
	{"120", "run", "ptrace is forbidden here"},
	{"121", "run", "seccomp filters are not available here"},
	{"122", "run", "hupt ended by a fault of its own; the program is left to serve on"},
	{"125", "all but smoke", "another failure of hupt itself; of run: a hook refused the first start, or --user wants root"},
	{"126", "run", "the command is not executable"},
	{"127", "run", "the command was not found"},
	{"130", "restart, rollback, scale, stop", "interrupted; what was begun goes on"},
	{"other", "run", "the program's own; 128+n if signal n ended it"},
}

func writeExitCodes(w io.Writer) {
	fmt.Fprintln(w, "Exit codes:")
	width := 0
	for _, e := range exitCodes {
		width = max(width, len(e.commands))
	}
	for _, e := range exitCodes {
		fmt.Fprintf(w, "  %-5s  %-*s  %s\n", e.code, width, e.commands, e.means)
	}
}

// kinds says which exit code an error has. The first that matches counts.
var kinds = []struct {
	kind error
	code int
}{
	{control.ErrNoInstance, exitNoInstance},
	{control.ErrNoProcess, exitNoInstance},
	{control.ErrSeveral, exitSeveral},
	{control.ErrForeign, exitForeign},
	{supervisor.ErrBusy, exitBusy},
	{supervisor.ErrStopping, exitBusy},
	{control.ErrNoAnswer, exitNoAnswer},
	{errRestartFailed, exitFailed},
	{supervisor.ErrNoPrevious, exitFailed},
	{supervisor.ErrNoPool, exitFailed},
	{errScaleFailed, exitFailed},
	{supervisor.ErrBadOptions, exitUsage},
	{errMissing, exitFailed},
	{errInterrupted, exitSignal + 2},
	{supervisor.ErrPtraceForbidden, exitPtrace},
	{supervisor.ErrSeccompMissing, exitSeccomp},
	{supervisor.ErrNotExecutable, exitNotExecutable},
	{supervisor.ErrNotFound, exitNotFound},
}

// hints are what to do about errors whose own words don't say it.
var hints = []struct {
	kind error
	hint string
}{
	{supervisor.ErrPtraceForbidden, "see: hupt doctor"},
	{supervisor.ErrSeccompMissing, "see: hupt doctor"},
	{supervisor.ErrNotFound, "give its path or check PATH"},
	{supervisor.ErrNotExecutable, "chmod +x it or name its interpreter"},
	{supervisor.ErrBusy, "wait, or see: hupt status"},
}

// codeError is an error that brings its exit code along; err may be nil if
// there is nothing to say.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return fmt.Sprint(e.err) }
func (e *codeError) Unwrap() error { return e.err }

// fail prints an error on one line and gives its exit code.
func fail(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	var coded *codeError
	if errors.As(err, &coded) {
		if coded.err != nil {
			fmt.Fprintln(w, "hupt: "+oneLine(coded.err.Error()))
		}
		return coded.code
	}
	var internal *supervisor.InternalError
	if errors.As(err, &internal) {
		return failInternally(w, internal)
	}
	text := oneLine(err.Error())
	for _, h := range hints {
		if errors.Is(err, h.kind) {
			text += "; " + h.hint
			break
		}
	}
	fmt.Fprintln(w, "hupt: "+text)
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return k.code
		}
	}
	return exitInternal
}

// failInternally says in one line what became of the program, and then what
// whoever mends the fault needs.
func failInternally(w io.Writer, e *supervisor.InternalError) int {
	fmt.Fprintf(w, "hupt: %s; please report it, with what follows\n", oneLine(e.Error()))
	for _, stop := range e.Stops {
		fmt.Fprintln(w, "hupt:   "+stop)
	}
	for line := range strings.Lines(e.Stack) {
		fmt.Fprintln(w, "hupt:   "+printable(strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    ")))
	}
	return exitPanic
}

// usagef is an error of the command line.
func usagef(format string, args ...any) error {
	return &codeError{exitUsage, fmt.Errorf(format, args...)}
}

// usageError adds to kong's words where to read more.
func usageError(err error, args []string) error {
	command := "hupt"
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		if node := parse.Context.Selected(); node != nil {
			command += " " + node.Name
		}
	}
	if len(args) == 0 {
		return usagef("no command given; see: hupt --help")
	}
	return usagef("%s; see: %s --help", plain(err), command)
}

// noValue is what kong says of a flag that is followed by another one, or by
// nothing.
var noValue = regexp.MustCompile(`^(-\S+): expected \w+ value but got "(.*?)" \((?:(short|long) flag|<EOL>)\)`)

// plain is kong's words, made better where they are about kong.
func plain(err error) string {
	m := noValue.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return err.Error()
	case m[3] == "":
		return m[1] + " wants a value"
	}
	return fmt.Sprintf("%s wants a value, and %s looks like a flag; if it is the value: %s=%s", m[1], m[2], m[1], m[2])
}

// checkEmpty refuses flags that were given an empty text. It is a script's unset
// variable: it must not mean that the flag was not given. smoke has texts that
// may be empty.
func checkEmpty(context *kong.Context) error {
	node := context.Selected()
	if node == nil || node.Name == "smoke" {
		return nil
	}
	for _, p := range context.Path {
		if p.Flag != nil && p.Flag.Target.Kind() == reflect.String && p.Flag.Target.Len() == 0 {
			return usagef("--%s is empty; give it a value or leave it out; see: hupt %s --help", p.Flag.Name, node.Name)
		}
	}
	return nil
}

// oneLine makes sure that text is one line and has nothing in it that a
// terminal would obey: names and reasons may be another user's.
func oneLine(text string) string {
	return strings.TrimSpace(printable(text))
}
