package control

import (
	"errors"
	"fmt"
	"strings"

	"hupt/supervisor"
)

// What can keep a command from reaching the instance that it means. Errors of
// this package wrap these; their own words say which process or path.
var (
	ErrNoInstance = errors.New("no such instance")           // nothing runs under hupt, or not this
	ErrNoProcess  = errors.New("no such process")            // the pid is unknown or dead
	ErrForeign    = errors.New("it belongs to someone else") // another user's; root may
	ErrSeveral    = errors.New("several instances match")    // *SeveralError lists them
	ErrNoAnswer   = errors.New("the instance does not answer")
	ErrUnsafeDir  = errors.New("unsafe runtime directory") // planted, or open to others
	ErrRefused    = errors.New("the instance refused")     // any other failure that it reported
)

// textError is an error whose words are made for people and whose kind is made
// for errors.Is.
type textError struct {
	text string
	kind error
}

func (e *textError) Error() string { return e.text }
func (e *textError) Unwrap() error { return e.kind }

// errorf makes an error of a kind; unlike %w it does not repeat the kind's words.
func errorf(kind error, format string, args ...any) error {
	return &textError{text: fmt.Sprintf(format, args...), kind: kind}
}

// SeveralError tells that a target means more than one instance.
type SeveralError struct {
	Target    string // empty if none was named
	Instances []Instance
}

// Error lists the instances on one line.
func (e *SeveralError) Error() string {
	names := make([]string, len(e.Instances))
	for i := range e.Instances {
		names[i] = e.Instances[i].String()
	}
	what := "several instances run"
	if e.Target != "" {
		what = fmt.Sprintf("%d instances match %q", len(e.Instances), e.Target)
	}
	return fmt.Sprintf("%s, name one by its pid: %s", what, strings.Join(names, ", "))
}

// Unwrap gives ErrSeveral.
func (e *SeveralError) Unwrap() error { return ErrSeveral }

// failure is what the server answers instead of 2xx.
type failure struct {
	Error string `json:"error"` // for people
	Code  string `json:"code"`  // for programs; see codes
}

// codes are the kinds of failure that travel over the socket.
var codes = map[string]error{
	"busy":           supervisor.ErrBusy,
	"stopping":       supervisor.ErrStopping,
	"not_found":      supervisor.ErrNotFound,
	"not_executable": supervisor.ErrNotExecutable,
	"no_previous":    supervisor.ErrNoPrevious,
	"no_pool":        supervisor.ErrNoPool,
	"bad_request":    supervisor.ErrBadOptions,
	"forbidden":      ErrForeign,
}

// codeOf names the kind of an error for the wire.
func codeOf(err error) string {
	for code, kind := range codes {
		if errors.Is(err, kind) {
			return code
		}
	}
	return "failed"
}

// err turns a failure that was received back into an error of its kind.
func (f failure) err() error {
	kind, ok := codes[f.Code]
	if !ok {
		kind = ErrRefused
	}
	return &textError{text: f.Error, kind: kind}
}
