package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
	"hupt/supervisor"
)

const (
	// answerTimeout is how long an instance may take to begin an answer that is
	// stopped, or that can't be seen; busyTimeout, one that runs: the machine may be
	// busy, and what was asked for may be under way.
	answerTimeout = 5 * time.Second
	busyTimeout   = 15 * time.Second
	// maxAnswer bounds what a client reads of one answer, in bytes: an instance
	// is another user's program when root asks.
	maxAnswer = 16 << 20
	// maxEvent bounds one event of a stream, in the same way.
	maxEvent = 1 << 20
)

// Instance is a running `hupt run`, as seen by a client.
type Instance struct {
	Socket string            // path of its control socket
	PID    int               // of hupt, from the socket's name
	UID    int               // whose it is
	Status supervisor.Status // as of Find; zero if Err is set
	Err    error             // why it did not answer; wraps ErrNoAnswer

	peerPID int // who answered at last, as our pid namespace sees it; 0 if it does not
}

// String names an instance shortly for lists and errors.
func (i *Instance) String() string {
	name := i.Status.Name
	if name == "" && len(i.Status.Command) > 0 {
		name = i.Status.Command[0]
	}
	if name == "" {
		return fmt.Sprintf("%d", i.PID)
	}
	return fmt.Sprintf("%d (%s)", i.PID, name)
}

// Refresh asks for the status anew.
func (i *Instance) Refresh(ctx context.Context) error {
	return i.refresh(ctx, "/v1/status")
}

// RefreshConnections is Refresh with each connection.
func (i *Instance) RefreshConnections(ctx context.Context) error {
	return i.refresh(ctx, "/v1/status?connections")
}

func (i *Instance) refresh(ctx context.Context, path string) error {
	ctx, _, cancel := i.patience(ctx)
	defer cancel()
	response, err := i.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var status supervisor.Status
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&status); err != nil {
		return errorf(ErrNoAnswer, "hupt %d answers with something that is not its status: %v", i.PID, err)
	}
	i.Status = status
	return nil
}

// Restart begins a restart; the stream tells of it. Errors wrap
// supervisor.ErrBusy or ErrStopping if none can begin. Closing the stream or
// ending ctx stops only the telling.
func (i *Instance) Restart(ctx context.Context, options supervisor.RestartOptions) (*Stream, error) {
	return i.stream(ctx, "/v1/restart", options)
}

// Scale asks a pool to have n processes; the stream tells of it.
func (i *Instance) Scale(ctx context.Context, n int) (*Stream, error) {
	return i.stream(ctx, "/v1/scale", scaling{n})
}

// Stop asks the instance to end its program and itself.
func (i *Instance) Stop(ctx context.Context) (*Stream, error) {
	return i.stream(ctx, "/v1/stop", struct{}{})
}

// Gone gives a channel that is closed when hupt itself has ended. Call it
// after it has answered and before Stop, so that the pid can't have come
// again. It works by pidfd_open (Linux 5.3); a hupt that our pid namespace
// does not see counts as gone at once.
func (i *Instance) Gone() (<-chan struct{}, error) {
	gone := make(chan struct{})
	if i.peerPID == 0 {
		close(gone)
		return gone, nil
	}
	fd, err := unix.PidfdOpen(i.peerPID, 0)
	if errors.Is(err, syscall.ESRCH) {
		close(gone)
		return gone, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	go func() {
		defer close(gone)
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if err != unix.EINTR {
				return
			}
		}
	}()
	return gone, nil
}

func (i *Instance) stream(ctx context.Context, path string, body any) (*Stream, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	ctx, began, cancel := i.patience(ctx)
	response, err := i.do(ctx, http.MethodPost, path, data)
	if !began() && err == nil {
		response.Body.Close()
		err = i.silent(context.DeadlineExceeded)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	s := &Stream{instance: i, body: response.Body, cancel: cancel}
	s.lines = json.NewDecoder(&s.bounded)
	s.bounded.from = response.Body
	return s, nil
}

// patience is a context that ends if the answer is not there in time. began says that it
// is, and reports whether that was so: then it ends only with ctx, or by cancel.
func (i *Instance) patience(ctx context.Context) (_ context.Context, began func() bool, cancel func()) {
	ctx, cancel = context.WithCancel(ctx)
	answered, inTime := make(chan struct{}), make(chan bool, 1)
	go func() {
		for _, wait := range []time.Duration{answerTimeout, busyTimeout - answerTimeout} {
			late := time.NewTimer(wait)
			select {
			case <-answered:
				late.Stop()
				inTime <- true
				return
			case <-ctx.Done():
				late.Stop()
				inTime <- false
				return
			case <-late.C:
			}
			if !fdtable.Runs(i.PID) {
				break
			}
		}
		cancel()
		inTime <- false
	}()
	return ctx, func() bool { close(answered); return <-inTime }, cancel
}

// do sends one request on a connection of its own.
func (i *Instance) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: i.dial}
	request, err := http.NewRequestWithContext(ctx, method, "http://hupt"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := transport.RoundTrip(request)
	if errors.Is(err, ErrForeign) {
		return nil, err
	}
	if err != nil {
		return nil, i.silent(err)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	var f failure
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&f); err != nil || f.Error == "" {
		return nil, errorf(ErrRefused, "hupt %d answers %s", i.PID, response.Status)
	}
	return nil, f.err()
}

// dial connects, and makes sure that the owner of the directory answers: a
// socket that was moved into it could be anybody's.
func (i *Instance) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", i.Socket)
	if err != nil {
		return nil, err
	}
	uid, pid, err := peer(conn)
	i.peerPID = pid
	if err == nil && uid != i.UID {
		err = errorf(ErrForeign, "control socket %s is served by uid %d, not by its owner, uid %d", i.Socket, uid, i.UID)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// silent says in words why an instance did not answer.
func (i *Instance) silent(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return errorf(ErrForeign, "the control socket of hupt %d is closed to you: ask its user or root", i.PID)
	case errors.Is(err, fs.ErrNotExist):
		return errorf(ErrNoAnswer, "hupt %d has no control socket any more; kill -HUP %d restarts it, kill -TERM %d stops it", i.PID, i.PID, i.PID)
	case errors.Is(err, syscall.ECONNREFUSED):
		return errorf(ErrNoAnswer, "hupt %d does not listen on its control socket any more", i.PID)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), os.IsTimeout(err):
		if fdtable.Runs(i.PID) {
			return errorf(ErrNoAnswer, "hupt %d does not answer within %v, though it runs: is the machine too busy? What was asked for may still be done", i.PID, busyTimeout)
		}
		return errorf(ErrNoAnswer, "hupt %d does not answer within %v; is it stopped? (kill -CONT %d)", i.PID, answerTimeout, i.PID)
	}
	return errorf(ErrNoAnswer, "hupt %d does not answer: %v", i.PID, err)
}

// Stream tells the events of a restart or a stop as they happen.
type Stream struct {
	instance *Instance
	body     io.ReadCloser
	bounded  bounded
	lines    *json.Decoder
	cancel   func()
}

// bounded reads no more than left bytes.
type bounded struct {
	from io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("an event of more than %d bytes", maxEvent)
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// Next waits for the next event. It gives io.EOF after the last and an error
// that wraps ErrNoAnswer if hupt went away before.
func (s *Stream) Next() (supervisor.Event, error) {
	var e supervisor.Event
	s.bounded.left = maxEvent
	err := s.lines.Decode(&e)
	if err != nil && err != io.EOF {
		err = errorf(ErrNoAnswer, "hupt %d went away in the middle: %v", s.instance.PID, err)
	}
	return e, err
}

// Close stops listening; what was begun goes on.
func (s *Stream) Close() {
	s.cancel()
	s.body.Close()
}
