package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"hupt/supervisor"
)

const (
	// writeTimeout is how long a client may leave its socket full.
	writeTimeout = 20 * time.Second
	// bodyTimeout is how long a client may take to send its request.
	bodyTimeout = 10 * time.Second
	// closeTimeout is how long Close lets streams tell their last event.
	closeTimeout = time.Second
	// maxRequest is more than a command and an environment can be (execve(2):
	// a quarter of the stack's limit, mostly 2 MiB).
	maxRequest = 4 << 20
)

// Server is the control socket of one instance.
type Server struct {
	listener *net.UnixListener
	http     *http.Server
	instance supervisor.Restarter
	closing  atomic.Bool
}

// Listen makes the control socket of the hupt with this pid in dir (see
// RuntimeDir), which it creates if need be. Connections wait until Serve.
// The error says in one line what is wrong with the directory.
func Listen(dir string, pid int) (*Server, error) {
	listener, err := bindSocket(Dir{dir, os.Getuid()}, pid)
	if err != nil {
		return nil, err
	}
	return &Server{listener: listener}, nil
}

// Path is where the socket is.
func (s *Server) Path() string { return s.listener.Addr().String() }

// Serve answers on a goroutine of its own, until Close. Call it once.
func (s *Server) Serve(instance supervisor.Restarter) {
	s.instance = instance
	s.http = &http.Server{
		Handler: sameUser(routes{
			"/v1/status":  {http.MethodGet, s.status},
			"/v1/restart": {http.MethodPost, s.restart},
			"/v1/stop":    {http.MethodPost, s.stop},
			"/v1/scale":   {http.MethodPost, s.scale},
		}),
		ConnContext:       withPeer,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // stderr is the program's too
	}
	go s.http.Serve(s.listener)
}

// Close lets open streams tell what they still have, for a second at most,
// and removes the socket.
func (s *Server) Close() {
	if s.closing.Swap(true) {
		return
	}
	defer s.listener.Close() // which nobody else does if Serve has not begun yet
	if s.http == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}

// routes is what is served, by path. http.ServeMux answers what it does not
// know in plain text, and a path that is not clean by a redirection.
type routes map[string]struct {
	method string
	serve  http.HandlerFunc
}

// ServeHTTP is http.Handler.
func (t routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch route, ok := t[r.URL.Path]; {
	case !ok:
		fail(w, http.StatusNotFound, failure{fmt.Sprintf("there is no %s here", r.URL.Path), "no_such_path"})
	case r.Method != route.method && (r.Method != http.MethodHead || route.method != http.MethodGet):
		w.Header().Set("Allow", route.method)
		fail(w, http.StatusMethodNotAllowed, failure{fmt.Sprintf("%s takes %s, not %s", r.URL.Path, route.method, r.Method), "bad_method"})
	default:
		route.serve(w, r)
	}
}

type peerKey struct{}

// withPeer notes the uid at the other end of a new connection, or its error.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	uid, _, err := peer(conn)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

// sameUser lets only hupt's own user and root in, should the socket's and the
// directory's modes have been changed.
func sameUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, ok := r.Context().Value(peerKey{}).(int)
		if !ok || !allowed(uid, os.Getuid()) {
			fail(w, http.StatusForbidden, failure{fmt.Sprintf("uid %d may not control an instance of uid %d", uid, os.Getuid()), "forbidden"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// allowed says whether a client may control an instance of owner's.
func allowed(client, owner int) bool { return client == owner || client == 0 }

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s.instance.Status(r.URL.Query().Has("connections")))
}

func (s *Server) restart(w http.ResponseWriter, r *http.Request) {
	var options supervisor.RestartOptions
	if decode(w, r, &options) {
		events, cancel, err := s.instance.Restart(options)
		answer(w, r, events, cancel, err)
	}
}

// scaling is the body of a request for another number of processes.
type scaling struct {
	Processes int `json:"processes"`
}

func (s *Server) scale(w http.ResponseWriter, r *http.Request) {
	var to scaling
	if !decode(w, r, &to) {
		return
	}
	pool, ok := s.instance.(supervisor.Scaler)
	if !ok {
		answer(w, r, nil, nil, supervisor.ErrNoPool)
		return
	}
	events, cancel, err := pool.Scale(to.Processes)
	answer(w, r, events, cancel, err)
}

// decode reads a request's body, which may be empty, and answers one that is
// not what it should be.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	body, err := readBody(w, r)
	if err == nil && len(body) > 0 {
		lines := json.NewDecoder(bytes.NewReader(body))
		lines.DisallowUnknownFields()
		err = lines.Decode(into)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, failure{"bad request: " + err.Error(), "bad_request"})
	}
	return err == nil
}

// answer tells what was begun, or why it could not begin.
func answer(w http.ResponseWriter, r *http.Request, events <-chan supervisor.Event, cancel func(), err error) {
	if err == nil {
		stream(w, r, events, cancel)
		return
	}
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, supervisor.ErrBusy), errors.Is(err, supervisor.ErrStopping),
		errors.Is(err, supervisor.ErrNoPrevious), errors.Is(err, supervisor.ErrNoPool):
		status = http.StatusConflict
	case errors.Is(err, supervisor.ErrBadOptions):
		status = http.StatusBadRequest
	}
	fail(w, status, failure{err.Error(), codeOf(err)})
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) {
	if _, err := readBody(w, r); err != nil {
		fail(w, http.StatusBadRequest, failure{"bad request: " + err.Error(), "bad_request"})
		return
	}
	events, cancel := s.instance.Stop()
	stream(w, r, events, cancel)
}

// readBody reads the whole body: until then net/http does not watch whether
// the client is still there.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer control.SetReadDeadline(time.Time{}) // a stream outlives it
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
}

// stream writes each event as one line of JSON as it happens. A stream that
// ends short of its last event is aborted, so that the client sees that it is
// not whole; what it watches goes on.
func stream(w http.ResponseWriter, r *http.Request, events <-chan supervisor.Event, cancel func()) {
	defer cancel()
	q := newQueue(events)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	for control.Flush() == nil {
		e, err := q.pop(r.Context())
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			break
		}
		control.SetWriteDeadline(time.Now().Add(writeTimeout))
		if lines.Encode(e) != nil {
			break
		}
	}
	panic(http.ErrAbortHandler)
}

// fail answers with an error.
func fail(w http.ResponseWriter, status int, f failure) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(f)
}
