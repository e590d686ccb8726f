package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Kind is the manner in which a client uses connections.
type Kind int

const (
	// PerConnection opens a connection for each request and asks for
	// Connection: close.
	PerConnection Kind = iota
	// KeepAlive asks over and over on one connection per client.
	KeepAlive
	// Slow opens a connection for each request and keeps the request in
	// flight: half of it is sent, the rest after Hold. With no Hold it is the
	// path that must take its time.
	Slow
	// LongLived keeps one connection per client, idle for Hold between a
	// request and the next.
	LongLived
)

// String returns the kind's name as reports show it.
func (k Kind) String() string {
	switch k {
	case PerConnection:
		return "per-connection"
	case KeepAlive:
		return "keep-alive"
	case Slow:
		return "slow"
	case LongLived:
		return "long-lived"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// kept says whether a connection serves several requests.
func (k Kind) kept() bool { return k == KeepAlive || k == LongLived }

// Raw is an exchange on a connection that does not speak HTTP.
type Raw struct {
	// Send is written first; it may be empty for a server that greets.
	Send []byte
	// Expect is what the answer must begin with. Empty takes any first byte.
	Expect []byte
	// Quiet takes silence for the answer: that the server neither closes nor
	// resets the connection within a few milliseconds. Send and Expect are
	// not looked at.
	Quiet bool
}

// Options say whom to ask, how and for how long.
type Options struct {
	Network string // "tcp" (default), "unix" or, with Raw, "udp"
	Address string // host:port with an address, not a name; or a path
	Kind    Kind
	TLS     *tls.Config // nil for none

	Clients  int           // concurrent ones; default 8
	Rate     float64       // requests a second over all clients; 0 for a closed loop
	Requests int64         // ends the run after so many; 0 for no bound
	Duration time.Duration // ends the run after so long; 0 for no bound
	Timeout  time.Duration // of one request from when it was sent; default 10 s
	Hold     time.Duration // see Slow and LongLived
	// Lifetime is after how long a kept connection is replaced by the client
	// once it was answered; 0 keeps it.
	Lifetime time.Duration

	Method string // default GET
	Path   string // default /
	Header http.Header
	Body   []byte
	Raw    *Raw // speak this instead of HTTP

	// Status is the only status that is right. With 0 and no Check any 2xx is.
	Status int
	// Check judges an answer; its error makes the request a failure of
	// ClassBody, or ClassStatus if the status is not a 2xx. It is called by
	// several goroutines at once and must not keep body.
	Check func(status int, body []byte) error
	// Tag names who answered, for Result.Tags; "" is not counted. It is
	// called like Check, on right answers only.
	Tag func(body []byte) string
	// Observe is told of every request when it ends. It is called by several
	// goroutines at once and holds up the one that calls.
	Observe func(Sample)

	// Sources is how many source addresses connections to an IPv4 loopback
	// address are spread over (127.0.0.1 and up), so that tens of thousands
	// of new ones in TIME_WAIT leave ports to use. Default 64; 1 spreads not.
	Sources int
	// KeepFailures is how many failures are kept whole; default 20.
	KeepFailures int
}

// Sample is one request that ended.
type Sample struct {
	Due     time.Duration // when it was to be sent, since the run's start
	Latency time.Duration // from Due to the last byte, or to the failure
	Kind    Kind
	Class   Class // ClassNone if it was answered right
	Phase   string
	Tag     string
}

// withDefaults returns o complete, or what is wrong with it.
func (o Options) withDefaults() (Options, error) {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.Address == "" {
		return o, errors.New("load: no address to ask")
	}
	if o.Network != "unix" {
		host, _, err := net.SplitHostPort(o.Address)
		if err != nil {
			return o, fmt.Errorf("load: address %q: %w", o.Address, err)
		}
		if net.ParseIP(host) == nil {
			return o, fmt.Errorf("load: address %q is not an IP address and a port", o.Address)
		}
	}
	if o.Network == "udp" && o.Raw == nil {
		return o, errors.New("load: udp needs Raw")
	}
	if o.Rate < 0 || o.Clients < 0 || o.Requests < 0 || o.Duration < 0 {
		return o, errors.New("load: clients, rate, requests and duration can't be negative")
	}
	if o.Clients == 0 {
		o.Clients = 8
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Method == "" {
		o.Method = http.MethodGet
	}
	if o.Path == "" {
		o.Path = "/"
	}
	if o.Sources <= 0 {
		o.Sources = 64
	}
	if o.KeepFailures <= 0 {
		o.KeepFailures = 20
	}
	return o, nil
}
