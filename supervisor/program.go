package supervisor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hupt/stage2"
)

// ErrNoPrevious is what a rollback answers when there is no command to go back
// to. ErrBadOptions is what Restart answers to options that make no sense.
var (
	ErrNoPrevious = errors.New("there is no command before this one")
	ErrBadOptions = errors.New("bad options")
)

// optionsError is an ErrBadOptions whose words say it all.
type optionsError struct{ error }

func badOptions(format string, args ...any) error { return optionsError{fmt.Errorf(format, args...)} }

// Is is for errors.Is.
func (optionsError) Is(target error) bool { return target == ErrBadOptions }

func (e optionsError) Unwrap() error { return e.error }

// program is what a launch executes. It is never changed, only replaced.
type program struct {
	command []string
	env     []string
	dir     string // by name; empty: hupt's own
}

// maxHistory is how many commands a rollback can go back.
const maxHistory = 16

// Validate says what is wrong with options, whatever the instance is.
func (o RestartOptions) Validate() error {
	for _, kv := range o.Env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" {
			return badOptions("%q in the environment is not NAME=VALUE", kv)
		}
	}
	for _, name := range o.Unset {
		if name == "" || strings.Contains(name, "=") {
			return badOptions("%q is not the name of an environment variable", name)
		}
	}
	for _, word := range slices.Concat(o.Command, o.Env, o.Unset, []string{o.Dir}) {
		if strings.Contains(word, "\x00") {
			return badOptions("%q has a zero byte in it", word)
		}
	}
	if !slices.Contains([]Mode{"", StartFirst, StopFirst, Exec}, o.Mode) {
		return badOptions("the mode %q is none of start-first, stop-first and exec", o.Mode)
	}
	switch {
	case o.MayMove && o.KeepAddresses:
		return badOptions("a version that may move need not keep its addresses: only one of the two can be asked for")
	case o.Dir != "" && !strings.HasPrefix(o.Dir, "/"):
		return badOptions("the directory %q is not an absolute path", o.Dir)
	case len(o.Command) > 0 && o.Command[0] == "":
		return badOptions("the command is empty")
	case o.Rollback && (len(o.Command)+len(o.Env)+len(o.Unset) > 0 || o.Dir != ""):
		return badOptions("a rollback takes the command before as it was")
	}
	return nil
}

// changed is the program with what o has different.
func (p *program) changed(o RestartOptions) *program {
	if len(o.Command)+len(o.Env)+len(o.Unset) == 0 && o.Dir == "" {
		return p
	}
	next := &program{command: p.command, env: slices.Clone(p.env), dir: p.dir}
	if len(o.Command) > 0 {
		next.command = slices.Clone(o.Command)
	}
	if o.Dir != "" {
		next.dir = o.Dir
	}
	for _, name := range o.Unset {
		next.env = unset(next.env, name)
	}
	for _, kv := range o.Env {
		name, _, _ := strings.Cut(kv, "=")
		i := slices.IndexFunc(next.env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if i < 0 {
			next.env = append(next.env, kv)
			continue
		}
		// What is there twice would leave the program a choice (getenv(3) takes
		// the first, some runtimes the last).
		next.env = slices.Insert(unset(next.env, name), i, kv)
	}
	return next
}

func unset(env []string, name string) []string {
	return slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

// check looks whether the program can be executed, as far as that can be known
// without executing it.
func (p *program) check() error {
	if p.dir != "" {
		if err := unix.Access(p.dir+"/.", unix.X_OK); err != nil {
			return fmt.Errorf("change to the working directory %s: %w", p.dir, err)
		}
	}
	path, err := stage2.Lookup(p.command[0], p.env, p.dir)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%s: %w", path, ErrNotFound)
	case err != nil:
		return fmt.Errorf("%s: %w: %w", path, ErrNotExecutable, err)
	}
	if !stage2.Interpretable(path, p.dir) {
		return fmt.Errorf("%s: %w: its interpreter was not found", path, ErrNotExecutable)
	}
	return nil
}

// previous is the command to which a rollback would go; nil: there is none.
func (s *Supervisor) previous() *program {
	if len(s.history) == 0 {
		return nil
	}
	return s.history[len(s.history)-1]
}

// keep makes the program of a restart that succeeded the one that the next
// restart starts.
func (s *Supervisor) keep(p *program) {
	switch {
	case p == nil || p == s.program:
	case p == s.previous():
		s.program, s.history = p, s.history[:len(s.history)-1]
	default:
		s.history = append(s.history, s.program)
		if len(s.history) > maxHistory {
			s.history = s.history[1:]
		}
		s.program = p
	}
}

// initialProgram is what hupt was told to run, where it was told to.
func initialProgram(command []string) *program {
	dir, err := os.Getwd()
	if err == nil {
		_, err = os.Stat(dir + "/.")
	}
	if err != nil {
		dir = "" // removed, or not to be entered by name: the program gets hupt's own
	}
	return &program{command: command, env: stage2.InheritedEnviron(), dir: dir}
}
