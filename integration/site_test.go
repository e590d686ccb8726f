package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hupt/internal/machine"
	"hupt/load"
)

// site is where one victim lives in one test: a directory with its code, a
// port, and a way to give it a new version.
type site struct {
	t       testing.TB
	v       *victim
	dir     string
	host    string
	port    int
	udp     bool              // it is asked by datagrams
	socket  string            // a Unix socket instead: a path, or @name
	backend int               // port of a slow server that proxies ask
	extra   map[string]string // further @NAME@s of a template
	args    []string          // further arguments
	deploys int

	interpreter string // the program that runs the code, if it is not one itself
}

func newSite(t testing.TB, v *victim) *site {
	t.Helper()
	s := &site{t: t, v: v, dir: tempDir(t), host: "127.0.0.1", port: freePort(t), extra: map[string]string{}}
	if v.proxy {
		s.backend = slowBackend(t)
	}
	s.deploy("v0")
	return s
}

// tempDir is t.TempDir, but readable for a server that changes its user.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hupt-site")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// program is the path under which the site's code is started; after deploy it
// leads to new code.
func (s *site) program() string { return filepath.Join(s.dir, "current") }

// deploy installs a new version as deployments do: by a rename that switches
// a symlink to another release.
func (s *site) deploy(version string) {
	s.t.Helper()
	var content []byte
	if s.v.program != "" {
		content = bake(s.t, s.v.program, version)
	} else {
		content = s.fill(s.v.template, version)
	}
	s.install(content, 0o755)
	if s.interpreter != "" {
		s.link(filepath.Join(s.dir, "exe"), s.interpreter)
	}
}

// fill returns a template of testdata with its @NAME@s replaced.
func (s *site) fill(template, version string) []byte {
	s.t.Helper()
	text, err := testdata.ReadFile("testdata/" + template)
	if err != nil {
		s.t.Fatal(err)
	}
	pairs := []string{"@VERSION@", version, "@PORT@", fmt.Sprint(s.port), "@BACKEND@", fmt.Sprint(s.backend), "@DIR@", s.dir}
	for name, value := range s.extra {
		pairs = append(pairs, "@"+name+"@", value)
	}
	pairs = append(pairs, "@LISTEN@", "")
	return []byte(strings.NewReplacer(pairs...).Replace(string(text)))
}

// install makes content the current release, whatever it is.
func (s *site) install(content []byte, mode os.FileMode) {
	s.t.Helper()
	s.deploys++
	release := filepath.Join(s.dir, fmt.Sprintf("release-%d", s.deploys))
	if err := writeProgram(release, content); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(release, mode); err != nil {
		s.t.Fatal(err)
	}
	s.pointTo(release)
	// Those before the last are not needed: whoever runs them has them open.
	os.Remove(filepath.Join(s.dir, fmt.Sprintf("release-%d", s.deploys-2)))
}

func (s *site) pointTo(release string) { s.link(s.program(), release) }

// link makes path a symlink to target; if it was another, without a moment
// at which there is none.
func (s *site) link(path, target string) {
	s.t.Helper()
	next := path + ".next"
	os.Remove(next)
	if err := os.Symlink(target, next); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		s.t.Fatal(err)
	}
}

// executable returns a path that leads to an installed program, by way of a
// symlink, so that a test may put another in its place.
func (s *site) executable(name string) string {
	s.t.Helper()
	s.interpreter = installed(s.t, name)
	path := filepath.Join(s.dir, "exe")
	s.link(path, s.interpreter)
	return path
}

// deployBad puts a program in place of the site's that is bad in the way that
// how says: see testdata/c/bad.c.
func (s *site) deployBad(how string) {
	s.t.Helper()
	if s.interpreter == "" {
		s.install(bake(s.t, "bad", how), 0o755)
		return
	}
	bad := filepath.Join(s.dir, "bad")
	os.Remove(bad)
	if err := writeProgram(bad, bake(s.t, "bad", how)); err != nil {
		s.t.Fatal(err)
	}
	s.link(filepath.Join(s.dir, "exe"), bad)
}

// argv is the command that is run.
func (s *site) argv() []string { return append(s.v.argv(s), s.args...) }

// env tells a bad version where to listen, whatever its arguments are.
func (s *site) env() []string {
	return []string{fmt.Sprintf("HUPT_TEST_PORT=%d", s.port), "HUPT_TEST_HOST=" + s.host}
}

func (s *site) address() string {
	if s.socket != "" {
		return s.socket
	}
	return net.JoinHostPort(s.host, fmt.Sprint(s.port))
}

// load returns the options of the victim's ordinary load.
func (s *site) load() load.Options {
	o := load.Options{Address: s.address(), Clients: clients, Timeout: patience, Check: s.v.check, Tag: s.v.tag}
	if s.v.raw != nil {
		o.Raw = s.v.raw
	}
	if small() {
		o.Rate = machine.Pace(100, 50)
	}
	switch {
	case s.socket != "":
		o.Network = "unix"
	case s.udp:
		o.Network = "udp"
	}
	return o
}

// slow returns the options of a load whose requests take ms in the server.
func (s *site) slow(ms int) load.Options {
	o := s.load()
	o.Kind, o.Rate = load.Slow, 0
	o.Path = fmt.Sprintf("/slow?ms=%d", ms)
	if s.v.slowRaw != nil {
		o.Raw = s.v.slowRaw(ms)
		o.Tag = nil
	}
	return o
}

// answer asks once, on a new connection, and returns who answered.
func (s *site) answer() (tag, error) {
	o := s.load()
	o.Clients, o.Requests, o.Rate, o.Timeout = 1, 1, 0, patience/4
	run, err := load.Start(context.Background(), o)
	if err != nil {
		return tag{}, err
	}
	r := run.Wait()
	for name := range r.Tags {
		return parseTag(name)
	}
	if len(r.First) > 0 {
		return tag{}, fmt.Errorf("%s", r.First[0])
	}
	return tag{}, fmt.Errorf("an answer without a pid and a version")
}

// awaitAnswer asks until it is answered for the first time.
func (s *site) awaitAnswer() tag {
	s.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var a tag
		if a, err = s.answer(); err == nil {
			return a
		}
	}
	s.t.Fatalf("%s does not serve within %v: %v", s.v.name, patience, err)
	return tag{}
}

// slowBackend is what proxies ask: it sleeps as the query says and answers
// with the header in which the proxy told its pid and version.
func slowBackend(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d, err := time.ParseDuration(r.FormValue("ms") + "ms"); err == nil {
			time.Sleep(d)
		}
		io.WriteString(w, r.Header.Get("X-Answer")+"\n")
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().(*net.TCPAddr).Port
}
