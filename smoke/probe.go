package smoke

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"hupt/load"
)

// Protocol is what a socket speaks.
type Protocol string

// The protocols that a probe tells apart.
const (
	HTTP     Protocol = "HTTP"
	HTTPS    Protocol = "HTTPS"
	HTTP2    Protocol = "HTTP/2 only" // by prior knowledge, without TLS
	TLS      Protocol = "TLS"         // and beneath it something else
	Greeting Protocol = "TCP, server first"
	Exchange Protocol = "TCP"          // it answers what was sent
	Silent   Protocol = "TCP, unknown" // it takes connections; more can't be seen
	UDPEcho  Protocol = "UDP"          // it answers what was sent
	UDPNone  Protocol = "UDP, unknown" // not loaded: no answer can be told from a loss
	Closes   Protocol = "closes at once"
)

// loaded says whether requests can be made of it.
func (p Protocol) loaded() bool { return p != UDPNone && p != Closes }

// checked says whether its answers are, not only its connections.
func (p Protocol) checked() bool { return p.loaded() && p != Silent && p != TLS && p != HTTP2 }

// exchange is how a target is asked.
type exchange struct {
	tls  *tls.Config
	raw  *load.Raw // nil: HTTP
	path string
	host string
}

// opening is how a conversation with the target may begin, harmlessly.
func (t Target) opening() []byte {
	switch {
	case t.ask.tls != nil:
		return []byte{0x16} // the first byte of a TLS record
	case t.ask.raw == nil:
		return []byte("GET ")
	}
	return nil
}

// answer is what came back to a probe.
type answer struct {
	data   []byte
	closed bool // the server closed, or reset, rather than the time running out
}

// talk sends what is given and reads until the server stops for wait.
func talk(network, address string, send []byte, wait time.Duration) (answer, error) {
	conn, err := dialProbe(network, address)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(wait))
	if len(send) > 0 {
		conn.Write(send) // what it answered may be read even so
	}
	var a answer
	buf := make([]byte, 4096)
	for len(a.data) < 1<<16 {
		n, err := conn.Read(buf)
		a.data = append(a.data, buf[:n]...)
		if err != nil {
			a.closed = !errors.Is(err, os.ErrDeadlineExceeded)
			break
		}
		// It began to answer: what follows at once belongs to it.
		conn.SetReadDeadline(time.Now().Add(min(wait, 100*time.Millisecond)))
	}
	return a, nil
}

func dialProbe(network, address string) (net.Conn, error) {
	return net.DialTimeout(network, address, 2*time.Second)
}

// probe finds out what a socket speaks. Every question is one that servers of
// other protocols survive.
func probe(s Socket, o *Options, wait time.Duration) (Target, error) {
	t := Target{Socket: s}
	network, address := s.reachable()
	t.Dial = address
	t.ask.path = "/"
	if network == "udp" {
		return probeUDP(t, o, wait), nil
	}
	if len(o.TCPSend) > 0 || len(o.TCPExpect) > 0 {
		t.Speaks = Exchange
		t.ask.raw = &load.Raw{Send: o.TCPSend, Expect: o.TCPExpect}
		return t, nil
	}
	host := address
	if network == "unix" {
		host = "localhost"
	}
	request := fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: hupt\r\nConnection: close\r\n\r\n", host)
	a, err := talk(network, address, []byte(request), wait)
	if err != nil {
		return t, err
	}
	switch {
	case bytes.HasPrefix(a.data, []byte("HTTP/")):
		t.Speaks = HTTP
		// 400 is also how HTTPS servers answer plain HTTP.
		if bytes.Contains(firstLine(a.data), []byte(" 400")) && speaksTLS(network, address) {
			t.Speaks = HTTPS
		}
	case len(a.data) > 2 && a.data[0] == 0x15 && a.data[1] == 3: // a TLS alert
		t.Speaks = HTTPS
	case settings(a.data), len(a.data) == 0 && speaksHTTP2(network, address, wait):
		t.Speaks = HTTP2
		t.ask.raw = &load.Raw{Send: []byte(http2Opening), Expect: []byte{0, 0}}
		t.Note = "it is asked for its settings, not for a page"
	case speaksTLS(network, address):
		t.Speaks = HTTPS
	default:
		return probeTCP(t, network, address, wait)
	}
	if t.Speaks == HTTPS {
		t.ask.tls = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
		if !answersHTTP(network, address, t.ask.tls, request, wait) {
			t.Speaks = TLS
			t.ask.raw = &load.Raw{Quiet: true}
			t.Note = "it does not speak HTTP/1 beneath TLS"
		}
	}
	return t, nil
}

func firstLine(data []byte) []byte {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return line
}

func speaksTLS(network, address string) bool {
	conn, err := dialProbe(network, address)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
	// One that wants a client certificate or another name is TLS all the same.
	var alert tls.AlertError
	return err == nil || errors.As(err, &alert)
}

// settings says whether an answer begins with a SETTINGS frame of HTTP/2.
func settings(data []byte) bool {
	return len(data) >= 9 && data[0] == 0 && data[3] == 4 && bytes.Equal(data[5:9], make([]byte, 4))
}

// http2Opening is how a client begins, with an empty SETTINGS frame. The server
// answers with its own.
const http2Opening = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// speaksHTTP2 begins HTTP/2 by prior knowledge.
func speaksHTTP2(network, address string, wait time.Duration) bool {
	a, err := talk(network, address, []byte(http2Opening), min(wait, 300*time.Millisecond))
	return err == nil && settings(a.data)
}

func answersHTTP(network, address string, c *tls.Config, request string, wait time.Duration) bool {
	conn, err := dialProbe(network, address)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(wait))
	t := tls.Client(conn, c)
	if _, err := io.WriteString(t, request); err != nil {
		return false
	}
	_, err = http.ReadResponse(bufio.NewReader(t), nil)
	return err == nil
}

// probeTCP learns an exchange that a server of an unknown protocol gives the
// same answer to each time: its greeting, or what it says to PING, which Redis
// and memcached know and an echo repeats.
func probeTCP(t Target, network, address string, wait time.Duration) (Target, error) {
	for _, send := range []string{"", "PING\r\n"} {
		first, err := talk(network, address, []byte(send), min(wait, 300*time.Millisecond))
		if err != nil {
			return t, err
		}
		if len(first.data) == 0 {
			if send == "" && first.closed {
				t.Speaks = Closes
				t.Note = "it closes every connection at once, unasked"
				return t, nil
			}
			continue
		}
		second, err := talk(network, address, []byte(send), min(wait, 300*time.Millisecond))
		if err != nil {
			return t, err
		}
		if same := common(first.data, second.data); len(same) > 0 {
			t.Speaks = Exchange
			if send == "" {
				t.Speaks = Greeting
			}
			t.ask.raw = &load.Raw{Send: []byte(send), Expect: same}
			t.Note = strings.TrimSpace(fmt.Sprintf("%q answers with %q", send, clip(string(same), 40)))
			return t, nil
		}
	}
	t.Speaks = Silent
	t.Note = "it says nothing, or another thing each time"
	t.ask.raw = &load.Raw{Quiet: true}
	return t, nil
}

// common is how two answers both begin, at most their first line. Where they
// differ within a word, such as a time of day, all of it is left out.
func common(a, b []byte) []byte {
	n := 0
	for n < len(a) && n < len(b) && n < 200 && a[n] == b[n] {
		if n++; a[n-1] == '\n' {
			return a[:n]
		}
	}
	if n < len(a) || n < len(b) {
		for n > 0 && a[n-1] != ' ' {
			n--
		}
	}
	return bytes.TrimRight(a[:n], " ")
}

func probeUDP(t Target, o *Options, wait time.Duration) Target {
	send, expect := o.TCPSend, o.TCPExpect
	if len(send) == 0 {
		send = []byte("PING\r\n")
	}
	t.Speaks = UDPNone
	a, err := talk("udp", t.Dial, send, min(wait, 200*time.Millisecond))
	if err == nil && len(a.data) > 0 {
		t.Speaks = UDPEcho
		if len(expect) == 0 {
			expect = a.data[:min(len(a.data), len(send))]
		}
		t.ask.raw = &load.Raw{Send: send, Expect: expect}
	} else {
		t.Note = "it does not answer what it does not know"
	}
	return t
}

// dual says whether an IPv6 wildcard socket takes IPv4 clients.
func dual(s Socket) bool {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil || s.Network != "tcp6" || host != "::" {
		return false
	}
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
	if err != nil {
		return !errors.Is(err, syscall.ECONNREFUSED)
	}
	conn.Close()
	return true
}
