package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hupt/internal/machine"
	"hupt/supervisor"
)

// fake is an instance whose restarts tell what the test puts into events.
type fake struct {
	mu       sync.Mutex
	status   supervisor.Status
	err      error
	options  supervisor.RestartOptions
	events   chan supervisor.Event
	canceled chan struct{}
	once     sync.Once
}

func newFake() *fake {
	return &fake{
		status:   supervisor.Status{PID: os.Getpid(), Name: "web", Command: []string{"server"}, Path: "/srv/server"},
		events:   make(chan supervisor.Event), // unbuffered: every send shows that nobody makes us wait
		canceled: make(chan struct{}),
	}
}

func (f *fake) Restart(o supervisor.RestartOptions) (<-chan supervisor.Event, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.options = o
	if f.err != nil {
		return nil, nil, f.err
	}
	return f.events, f.cancel, nil
}

func (f *fake) Stop() (<-chan supervisor.Event, func()) { return f.events, f.cancel }
func (f *fake) Status(bool) supervisor.Status           { return f.status }
func (f *fake) cancel()                                 { f.once.Do(func() { close(f.canceled) }) }

// tell sends an event as a supervisor does, and fails if that has to wait.
func (f *fake) tell(t *testing.T, e supervisor.Event) {
	t.Helper()
	select {
	case f.events <- e:
	case <-time.After(machine.Patience(5 * time.Second)):
		t.Fatalf("the supervisor was made to wait with %v", e)
	}
}

// shortTemp is a directory whose name leaves room for a socket's.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "hupt-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start serves f in dir and gives the instance that a client finds.
func start(t *testing.T, dir string, pid int, f *fake) *Instance {
	t.Helper()
	server, err := Listen(dir, pid)
	if err != nil {
		t.Fatal(err)
	}
	server.Serve(f)
	t.Cleanup(server.Close)
	return &Instance{Socket: server.Path(), PID: pid, UID: os.Getuid()}
}

func next(t *testing.T, s *Stream) supervisor.Event {
	t.Helper()
	e, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestStatus(t *testing.T) {
	i := start(t, shortTemp(t), os.Getpid(), newFake())
	if err := i.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i.Status.Name != "web" || i.Status.Path != "/srv/server" {
		t.Errorf("got %+v", i.Status)
	}
	if i.peerPID != os.Getpid() {
		t.Errorf("peer pid %d, want %d", i.peerPID, os.Getpid())
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(shortTemp(t), "run")
	i := start(t, dir, 17, newFake())
	for path, want := range map[string]os.FileMode{dir: 0o700, i.Socket: 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %#o, want %#o", path, got, want)
		}
	}
}

func TestRestartStreamsAsItHappens(t *testing.T) {
	f := newFake()
	i := start(t, shortTemp(t), os.Getpid(), f)
	s, err := i.Restart(t.Context(), supervisor.RestartOptions{ReadyTimeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if f.options.ReadyTimeout != 3*time.Second {
		t.Errorf("options arrived as %+v", f.options)
	}
	// Each is read before the next is told: none waits for company.
	for n, kind := range []supervisor.EventKind{supervisor.EventStarting, supervisor.EventReady, supervisor.EventServing} {
		f.tell(t, supervisor.Event{Kind: kind, Generation: n})
		if e := next(t, s); e.Kind != kind || e.Generation != n {
			t.Errorf("got %+v, want %s", e, kind)
		}
	}
	close(f.events)
	if _, err := s.Next(); err != io.EOF {
		t.Errorf("after the last event: %v, want EOF", err)
	}
}

func TestRefusals(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("%w: generation 3 is starting", supervisor.ErrBusy),
		fmt.Errorf("%w", supervisor.ErrStopping),
		fmt.Errorf("nosuch: %w", supervisor.ErrNotFound),
		fmt.Errorf("rolling: %w", supervisor.ErrBadOptions),
	} {
		f := newFake()
		f.err = err
		i := start(t, shortTemp(t), os.Getpid(), f)
		_, got := i.Restart(t.Context(), supervisor.RestartOptions{})
		if !errors.Is(got, errors.Unwrap(err)) || got.Error() != err.Error() {
			t.Errorf("got %v, want %v", got, err)
		}
	}
	f := newFake()
	f.err = errors.New("no memory")
	i := start(t, shortTemp(t), os.Getpid(), f)
	if _, err := i.Restart(t.Context(), supervisor.RestartOptions{}); !errors.Is(err, ErrRefused) || err.Error() != "no memory" {
		t.Errorf("got %v", err)
	}
}

// TestUnknownRequests: what is not served is refused in the shape of all
// failures.
func TestUnknownRequests(t *testing.T) {
	i := start(t, shortTemp(t), os.Getpid(), newFake())
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: i.dial},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, c := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/v1/nosuch", 404, "no_such_path", ""},
		{"POST", "/", 404, "no_such_path", ""},
		{"GET", "//v1/status", 404, "no_such_path", ""},
		{"GET", "/v1/restart", 405, "bad_method", "POST"},
		{"PUT", "/v1/status", 405, "bad_method", "GET"},
		{"HEAD", "/v1/status", 200, "", ""},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, "http://hupt"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var f failure
		if c.code != "" {
			err = json.NewDecoder(response.Body).Decode(&f)
		}
		response.Body.Close()
		if err != nil || response.StatusCode != c.status || f.Code != c.code || (f.Error == "") != (c.code == "") ||
			response.Header.Get("Content-Type") != "application/json" || response.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %s, %+v, %v", c.method, c.path, response.Status, f, err)
		}
	}
}

func TestClientVanishes(t *testing.T) {
	f := newFake()
	i := start(t, shortTemp(t), os.Getpid(), f)
	s, err := i.Restart(t.Context(), supervisor.RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.tell(t, supervisor.Event{Kind: supervisor.EventStarting})
	next(t, s)
	s.Close()
	select {
	case <-f.canceled:
	case <-time.After(machine.Patience(5 * time.Second)):
		t.Fatal("the server did not notice that its client left")
	}
	for range 100 {
		f.tell(t, supervisor.Event{Kind: supervisor.EventReady})
	}
	if err := i.Refresh(t.Context()); err != nil {
		t.Errorf("after a client left: %v", err)
	}
}

func TestClientThatNeverReads(t *testing.T) {
	f := newFake()
	i := start(t, shortTemp(t), os.Getpid(), f)
	s, err := i.Restart(t.Context(), supervisor.RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	reason := strings.Repeat("x", 1000)
	for range 3 * maxQueue {
		f.tell(t, supervisor.Event{Kind: supervisor.EventWarning, Reason: reason})
	}
}

func TestServerDiesInTheMiddle(t *testing.T) {
	f := newFake()
	i := start(t, shortTemp(t), os.Getpid(), f)
	s, err := i.Restart(t.Context(), supervisor.RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f.tell(t, supervisor.Event{Kind: supervisor.EventStarting})
	next(t, s)
	for range maxQueue * 4 { // a queue that overflows aborts the stream as a death would
		f.tell(t, supervisor.Event{Kind: supervisor.EventWarning, Reason: strings.Repeat("x", 500)})
	}
	for err == nil {
		_, err = s.Next()
	}
	if !errors.Is(err, ErrNoAnswer) {
		t.Errorf("got %v, want ErrNoAnswer", err)
	}
}

func TestCloseTellsTheLastEvent(t *testing.T) {
	f := newFake()
	dir := shortTemp(t)
	server, err := Listen(dir, 4)
	if err != nil {
		t.Fatal(err)
	}
	server.Serve(f)
	i := &Instance{Socket: server.Path(), PID: 4, UID: os.Getuid()}
	s, err := i.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f.tell(t, supervisor.Event{Kind: supervisor.EventStopped, ExitCode: 3})
	close(f.events)
	server.Close()
	if e := next(t, s); e.ExitCode != 3 {
		t.Errorf("got %+v", e)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
	if _, err := os.Lstat(server.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left over: %v", err)
	}
	if err := i.Refresh(t.Context()); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "no control socket any more") {
		t.Errorf("got %v", err)
	}
}

func TestInstanceThatDoesNotAnswer(t *testing.T) {
	path := filepath.Join(shortTemp(t), "5.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	i := &Instance{Socket: path, PID: 5, UID: os.Getuid()}
	if err := i.Refresh(ctx); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("got %v, want ErrNoAnswer", err)
	}
}

// TestLateAnswer: an instance that runs is given time on a busy machine; one that is
// stopped is told of soon.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	const late = answerTimeout + time.Second
	serve := func(t *testing.T, handler http.HandlerFunc) string {
		path := filepath.Join(shortTemp(t), "5.sock")
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler}
		go server.Serve(listener)
		t.Cleanup(func() { server.Close() })
		return path
	}
	t.Run("runs", func(t *testing.T) {
		t.Parallel()
		path := serve(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(late)
			if r.Method == http.MethodGet {
				fmt.Fprint(w, "{}")
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(busyTimeout) // an answer that has begun may take what it wants
			fmt.Fprint(w, `{"event":"serving"}`)
		})
		i := &Instance{Socket: path, PID: os.Getpid(), UID: os.Getuid()}
		if err := i.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		s, err := i.Restart(t.Context(), supervisor.RestartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		next(t, s)
	})
	t.Run("is stopped", func(t *testing.T) {
		t.Parallel()
		path := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		cmd := exec.Command("sleep", "100")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			cmd.Process.Kill()
			cmd.Wait()
		}()
		cmd.Process.Signal(syscall.SIGSTOP)
		began := time.Now()
		i := &Instance{Socket: path, PID: cmd.Process.Pid, UID: os.Getuid()}
		_, err := i.Restart(t.Context(), supervisor.RestartOptions{})
		if took := time.Since(began); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "within 5s; is it stopped?") || took > machine.Patience(answerTimeout+2*time.Second) {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

func TestPeers(t *testing.T) {
	for _, c := range []struct {
		client, owner int
		want          bool
	}{{0, 0, true}, {1000, 1000, true}, {0, 1000, true}, {1000, 0, false}, {1001, 1000, false}} {
		if got := allowed(c.client, c.owner); got != c.want {
			t.Errorf("client %d of owner %d: %v", c.client, c.owner, got)
		}
	}
	// A directory that says another owner than who answers is not believed.
	i := start(t, shortTemp(t), os.Getpid(), newFake())
	i.UID = os.Getuid() + 1
	if err := i.Refresh(t.Context()); !errors.Is(err, ErrForeign) {
		t.Errorf("got %v, want ErrForeign", err)
	}
}

func TestDrainCountsAreFolded(t *testing.T) {
	q := &queue{wake: make(chan struct{}, 1)}
	for n := range 2 * maxQueue {
		q.push(supervisor.Event{Kind: supervisor.EventDraining, Generation: 1, Connections: n})
	}
	q.push(supervisor.Event{Kind: supervisor.EventDraining, Generation: 2, Connections: 7})
	// Of a pool each process has a generation 2.
	q.push(supervisor.Event{Kind: supervisor.EventDraining, Process: 1, Generation: 2, Connections: 8})
	q.push(supervisor.Event{Kind: supervisor.EventDraining, Process: 2, Generation: 2, Connections: 9})
	q.end(io.EOF)
	for _, want := range []int{2*maxQueue - 1, 7, 8, 9} {
		if e, err := q.pop(t.Context()); err != nil || e.Connections != want {
			t.Errorf("got %+v, %v, want %d", e, err, want)
		}
	}
	if _, err := q.pop(t.Context()); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
}
