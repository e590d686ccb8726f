package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestChanged(t *testing.T) {
	p := &program{command: []string{"a"}, env: []string{"A=1", "B=2", "A=3", "odd", "C="}, dir: "/d"}
	for name, c := range map[string]struct {
		o                 RestartOptions
		command, env, dir string
	}{
		"nothing":             {RestartOptions{}, "a", "A=1 B=2 A=3 odd C=", "/d"},
		"command":             {RestartOptions{Command: []string{"b", "c"}}, "b c", "A=1 B=2 A=3 odd C=", "/d"},
		"dir":                 {RestartOptions{Dir: "/e"}, "a", "A=1 B=2 A=3 odd C=", "/e"},
		"set in its place":    {RestartOptions{Env: []string{"B=x=y"}}, "a", "A=1 B=x=y A=3 odd C=", "/d"},
		"set one there twice": {RestartOptions{Env: []string{"A=9"}}, "a", "A=9 B=2 odd C=", "/d"},
		"set anew":            {RestartOptions{Env: []string{"D="}}, "a", "A=1 B=2 A=3 odd C= D=", "/d"},
		"unset":               {RestartOptions{Unset: []string{"A", "no", "C"}}, "a", "B=2 odd", "/d"},
		"unset and set":       {RestartOptions{Unset: []string{"A"}, Env: []string{"A=5", "A=6"}}, "a", "B=2 odd C= A=6", "/d"},
	} {
		got := p.changed(c.o)
		if strings.Join(got.command, " ") != c.command || strings.Join(got.env, " ") != c.env || got.dir != c.dir {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if strings.Join(p.env, " ") != "A=1 B=2 A=3 odd C=" {
		t.Errorf("the program before was changed: %q", p.env)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		o    RestartOptions
		want string
	}{
		{RestartOptions{Env: []string{"A"}}, `"A" in the environment is not NAME=VALUE`},
		{RestartOptions{Env: []string{"=A"}}, `"=A" in the environment`},
		{RestartOptions{Unset: []string{"A=1"}}, `"A=1" is not the name`},
		{RestartOptions{Unset: []string{""}}, `"" is not the name`},
		{RestartOptions{Dir: "here"}, `"here" is not an absolute path`},
		{RestartOptions{Command: []string{""}}, "the command is empty"},
		{RestartOptions{Command: []string{"a\x00b"}}, "zero byte"},
		{RestartOptions{Rollback: true, Dir: "/"}, "a rollback takes"},
	} {
		if err := c.o.Validate(); !errors.Is(err, ErrBadOptions) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	if err := (RestartOptions{Command: []string{"a", ""}, Env: []string{"A="}, Dir: "/"}).Validate(); err != nil {
		t.Error(err)
	}
}

// spec is "command | env | dir" of a launch.
func (r *run) spec(n int) string {
	r.asked(fmt.Sprintf("launch %d", n))
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.specs[n]
	return strings.Join(s.Command, " ") + " | " + strings.Join(s.Env, " ") + " | " + s.Dir
}

// restarted restarts with o and lets it succeed.
func (r *run) restarted(n int, o RestartOptions) {
	r.t.Helper()
	events, _, err := r.Restart(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.serve(n)
	if got := r.kinds(events); !strings.Contains(got, "confirmed") {
		r.t.Fatalf("told %s", got)
	}
}

// TestOtherCommand: what a restart has different is kept if it succeeded, and
// a rollback goes back, step by step.
func TestOtherCommand(t *testing.T) {
	r := start(t)
	const first = "true | PATH=/bin A=1 | /"
	const second = "true x | PATH=/bin A=2 | /tmp"
	r.restarted(2, RestartOptions{Command: []string{"true", "x"}, Env: []string{"A=2"}, Dir: "/tmp"})
	if got := r.spec(2); got != second {
		t.Error(got)
	}
	if st := r.Status(true); !slices.Equal(st.Command, []string{"true", "x"}) || st.Dir != "/tmp" || !slices.Equal(st.Previous, []string{"true"}) {
		t.Errorf("%+v", st)
	}

	// One that fails leaves it.
	events, _, err := r.Restart(RestartOptions{Unset: []string{"A"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.spec(3); got != "true x | PATH=/bin | /tmp" {
		t.Error(got)
	}
	r.fakeTracer.end(3, unix.WaitStatus(0x0100))
	r.kinds(events)

	// What can't be executed is refused before anything happens.
	for _, c := range []struct {
		o    RestartOptions
		want error
	}{
		{RestartOptions{Command: []string{"nosuch"}}, ErrNotFound},
		{RestartOptions{Command: []string{"./true"}}, ErrNotFound},
		{RestartOptions{Command: []string{"/tmp"}}, ErrNotExecutable},
		{RestartOptions{Dir: "/nosuch"}, unix.ENOENT},
	} {
		if _, _, err := r.Restart(c.o); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	r.never("launch 4")

	// A HUP starts what was kept.
	r.restarted(4, RestartOptions{})
	r.restarted(5, RestartOptions{Env: []string{"A=3"}})
	r.restarted(6, RestartOptions{Rollback: true})
	r.restarted(7, RestartOptions{Rollback: true})
	r.restarted(8, RestartOptions{})
	for n, want := range map[int]string{4: second, 5: "true x | PATH=/bin A=3 | /tmp", 6: second, 7: first, 8: first} {
		if got := r.spec(n); got != want {
			t.Errorf("generation %d: %s", n, got)
		}
	}
	if _, _, err := r.Restart(RestartOptions{Rollback: true}); !errors.Is(err, ErrNoPrevious) {
		t.Errorf("a rollback to nothing: %v", err)
	}
}

// TestPathOfServing: a version that failed leaves nothing of itself in the
// status.
func TestPathOfServing(t *testing.T) {
	r := start(t)
	events, _, err := r.Restart(RestartOptions{Command: []string{"false"}})
	if err != nil {
		t.Fatal(err)
	}
	r.asked("launch 2")
	r.fakeTracer.end(2, unix.WaitStatus(0x0100))
	r.kinds(events)
	if st := r.Status(false); st.Path != "true" || !slices.Equal(st.Command, []string{"true"}) {
		t.Errorf("path %q, command %q", st.Path, st.Command)
	}
	r.restarted(3, RestartOptions{Command: []string{"false"}})
	if st := r.Status(false); st.Path != "false" {
		t.Errorf("path %q", st.Path)
	}
}
