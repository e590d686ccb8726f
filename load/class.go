package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Class says in what way a request failed.
type Class string

// The classes of failures.
const (
	ClassNone      Class = ""
	ClassRefused   Class = "refused"   // ECONNREFUSED, or no such Unix socket
	ClassReset     Class = "reset"     // ECONNRESET or EPIPE
	ClassTimeout   Class = "timeout"   // ETIMEDOUT, or not answered within Timeout
	ClassClosed    Class = "closed"    // closed without a byte of an answer
	ClassShort     Class = "short"     // the answer broke off
	ClassMalformed Class = "malformed" // the answer is not HTTP
	ClassStatus    Class = "status"    // wrong status
	ClassBody      Class = "body"      // wrong body
	ClassOther     Class = "other"
)

// Classes lists every class of failure in the order in which reports show
// them.
var Classes = []Class{ClassRefused, ClassReset, ClassTimeout, ClassClosed,
	ClassShort, ClassMalformed, ClassStatus, ClassBody, ClassOther}

// Failure is a request that was lost or answered wrong.
type Failure struct {
	Time  time.Time     `json:"time"`
	At    time.Duration `json:"at_ns"` // since the run's start
	Kind  string        `json:"kind"`
	Class Class         `json:"class"`
	Step  string        `json:"step"`  // "connect", "send", "read", "check"
	Phase string        `json:"phase"` // of the run, see Run.SetPhase
	Text  string        `json:"text"`
}

// String returns the failure as a line.
func (f Failure) String() string {
	phase := f.Phase
	if phase == "" {
		phase = "no restart"
	}
	return fmt.Sprintf("%7.3fs %s [%s, %s] %s: %s", f.At.Seconds(), f.Class, f.Kind, phase, f.Step, f.Text)
}

// stepError is why a request failed, and at which step.
type stepError struct {
	step  string
	class Class
	err   error
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// failed wraps an error of the network at a step.
func failed(step string, err error) *stepError {
	return &stepError{step, classify(err), err}
}

// classify names the class of a network error. io.EOF is ClassClosed: who
// reads within an answer must turn it into io.ErrUnexpectedEOF.
func classify(err error) Class {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return ClassRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return ClassReset
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ClassTimeout
	case errors.Is(err, io.EOF):
		return ClassClosed
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ClassShort
	}
	return ClassOther
}
