package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// client asks one request at a time.
type client struct {
	o       *Options
	dialer  *dialer
	request []byte // all of it, headers and body
	get     *http.Request
	quit    <-chan struct{} // closed when nothing more is to be sent

	br         *bufio.Reader
	body       bytes.Buffer
	reconnects int64 // of kept connections that the server closed idle

	mu      sync.Mutex // guards what abort looks at
	conn    net.Conn
	plain   net.Conn
	opened  time.Time
	aborted bool
}

func newClient(o *Options, d *dialer, quit <-chan struct{}) *client {
	return &client{o: o, dialer: d, request: requestBytes(o), quit: quit,
		get: &http.Request{Method: o.Method}, br: bufio.NewReaderSize(nil, 4096)}
}

// requestBytes returns the request as it is written to the connection.
func requestBytes(o *Options) []byte {
	if o.Raw != nil && o.Raw.Quiet {
		return nil
	}
	if o.Raw != nil {
		return o.Raw.Send
	}
	h := o.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	host := h.Get("Host")
	h.Del("Host")
	if host == "" {
		host = o.Address
		if o.Network == "unix" {
			host = "localhost"
		}
	}
	if !o.Kind.kept() {
		h.Set("Connection", "close")
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", "hupt")
	}
	if len(o.Body) > 0 || o.Method == http.MethodPost || o.Method == http.MethodPut {
		h.Set("Content-Length", fmt.Sprint(len(o.Body)))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", o.Method, o.Path, host)
	h.Write(&b)
	b.WriteString("\r\n")
	b.Write(o.Body)
	return b.Bytes()
}

// ask does one request and returns what was answered. The body is good until
// the next call. No failure is ever tried again.
func (c *client) ask() (status int, body []byte, err *stepError) {
	deadline := time.Now().Add(c.o.Timeout + c.o.Hold)
	if c.conn != nil && !idle(c.conn, c.plain) {
		c.close()
		c.reconnects++
	}
	if c.conn == nil {
		conn, plain, e := c.dialer.dial(deadline)
		if e != nil {
			return 0, nil, failed("connect", e)
		}
		if !c.hold(conn, plain) {
			return 0, nil, failed("connect", net.ErrClosed)
		}
		c.br.Reset(conn)
	}
	c.conn.SetDeadline(deadline)
	if e := c.send(); e != nil {
		// A server that answers and closes without reading it all resets us;
		// what it said before may still be read, as any client would.
		if status, body, re := c.read(); re == nil {
			c.close()
			return status, body, nil
		}
		c.close()
		return 0, nil, failed("send", e)
	}
	status, body, err = c.read()
	old := c.o.Lifetime > 0 && time.Since(c.opened) >= c.o.Lifetime
	if err != nil || old || !c.o.Kind.kept() {
		c.close()
	}
	return status, body, err
}

// send writes the request, a Slow one in two halves.
func (c *client) send() error {
	rest := c.request
	if c.o.Kind == Slow && c.o.Hold > 0 && len(rest) > 1 {
		if _, err := c.conn.Write(rest[:len(rest)/2]); err != nil {
			return err
		}
		rest = rest[len(rest)/2:]
		select {
		case <-time.After(c.o.Hold):
		case <-c.quit:
		}
	}
	if len(rest) == 0 {
		return nil
	}
	_, err := c.conn.Write(rest)
	return err
}

// read takes one answer from the connection.
func (c *client) read() (int, []byte, *stepError) {
	if c.o.Raw != nil {
		return c.readRaw()
	}
	if begin, err := c.br.Peek(len("HTTP/")); len(begin) > 0 && !strings.HasPrefix("HTTP/", string(begin)) {
		return 0, nil, &stepError{"read", ClassMalformed, fmt.Errorf("answered %.20q, which is not HTTP", begin)}
	} else if err != nil {
		if len(begin) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, failed("read", err)
	}
	for {
		resp, err := http.ReadResponse(c.br, c.get)
		if err != nil {
			e := failed("read", err)
			if e.class == ClassOther {
				e.class = ClassMalformed
				// A header that breaks off reads as one that is malformed.
				if _, err := c.br.Peek(1); errors.Is(err, io.EOF) {
					e.class = ClassShort
				}
			}
			return 0, nil, e
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		c.body.Reset()
		_, err = c.body.ReadFrom(resp.Body)
		resp.Body.Close()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, failed("read", err)
		}
		if resp.Close && c.o.Kind.kept() {
			c.close() // as the server asked: nothing of ours is in flight
		}
		return resp.StatusCode, c.body.Bytes(), nil
	}
}

// readRaw reads as much as is expected and compares it.
func (c *client) readRaw() (int, []byte, *stepError) {
	if c.o.Raw.Quiet {
		c.conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := c.br.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) && err != nil {
			return 0, nil, failed("read", err)
		}
		c.br.Reset(c.conn) // it remembers the error
		return 0, nil, nil
	}
	want := c.o.Raw.Expect
	got := make([]byte, max(1, len(want)))
	n := 0
	var err error
	if c.o.Network == "udp" {
		got = make([]byte, 64<<10)
		n, err = c.conn.Read(got)
	} else {
		n, err = io.ReadFull(c.br, got)
	}
	got = got[:n]
	if err != nil {
		return 0, nil, failed("read", err)
	}
	if !bytes.HasPrefix(got, want) {
		return 0, nil, &stepError{"check", ClassBody, fmt.Errorf("answered %.60q, not %.60q", got, want)}
	}
	// A line protocol's answer may go on behind what was expected.
	if rest, _ := c.br.Peek(c.br.Buffered()); len(rest) > 0 {
		got = append(got, rest...)
		c.br.Discard(len(rest))
	}
	return 0, got, nil
}

// hold makes conn the client's, unless the run was aborted meanwhile.
func (c *client) hold(conn, plain net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted {
		conn.Close()
		return false
	}
	c.conn, c.plain, c.opened = conn, plain, time.Now()
	return true
}

// close ends the client's connection, if it has one.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
	}
	c.conn, c.plain = nil, nil
}

// abort breaks off what is in flight.
func (c *client) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	if c.plain != nil {
		c.plain.Close()
	}
}
