package smoke

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hupt/internal/machine"
	"hupt/load"
)

// tcpServer gives each connection to serve.
func tcpServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return l.Addr().String()
}

func TestProbe(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	plain := httptest.NewServer(hello)
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(hello)
	t.Cleanup(secure.Close)
	h2 := httptest.NewUnstartedServer(hello)
	h2.Config.Protocols = new(http.Protocols)
	h2.Config.Protocols.SetUnencryptedHTTP2(true)
	h2.Start()
	t.Cleanup(h2.Close)
	lines := func(answer func(string) string) string {
		return tcpServer(t, func(c net.Conn) {
			br := bufio.NewReader(c)
			for {
				line, err := br.ReadString('\n')
				if err != nil {
					return
				}
				io.WriteString(c, answer(line))
			}
		})
	}
	redis := lines(func(line string) string {
		if strings.HasPrefix(line, "PING") {
			return "+PONG\r\n"
		}
		return "-ERR unknown command\r\n"
	})
	for name, tt := range map[string]struct {
		address string
		want    Protocol
	}{
		"http":     {plain.Listener.Addr().String(), HTTP},
		"https":    {secure.Listener.Addr().String(), HTTPS},
		"http/2":   {h2.Listener.Addr().String(), HTTP2},
		"redis":    {redis, Exchange},
		"echo":     {lines(func(l string) string { return l }), Exchange},
		"greeting": {tcpServer(t, func(c net.Conn) { io.WriteString(c, "220 ready\r\n"); io.Copy(io.Discard, c) }), Greeting},
		"silent":   {tcpServer(t, func(c net.Conn) { io.Copy(io.Discard, c) }), Silent},
		"closes":   {tcpServer(t, func(net.Conn) {}), Closes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Socket{Network: "tcp4", Address: tt.address}
			o := &Options{Timeout: time.Second, Method: "GET"}
			got, err := probe(s, o, 500*time.Millisecond)
			if err != nil || got.Speaks != tt.want {
				t.Fatalf("speaks %s (%v), want %s", got.Speaks, err, tt.want)
			}
			if !got.Speaks.loaded() {
				return
			}
			// What was found out must do for a load that loses nothing.
			c := &course{o: o}
			if err := c.learnTarget(t.Context(), &got); err != nil {
				t.Fatal(err)
			}
			lo := c.loadOptions(&got)
			lo.Requests, lo.Timeout = 20, machine.Patience(lo.Timeout)
			if got.ask.raw == nil {
				got.lesson.judge(&lo, o)
			}
			run, err := load.Start(t.Context(), lo)
			if err != nil {
				t.Fatal(err)
			}
			if res := run.Wait(); res.Failures > 0 || res.Requests != 20 {
				t.Errorf("%v", res)
			}
		})
	}
}

func TestProbeUDP(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	o := &Options{}
	s := Socket{Network: "udp4", Address: pc.LocalAddr().String()}
	if got, _ := probe(s, o, 100*time.Millisecond); got.Speaks != UDPNone {
		t.Errorf("one that is silent speaks %s", got.Speaks)
	}
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(b[:n], from)
		}
	}()
	if got, _ := probe(s, o, time.Second); got.Speaks != UDPEcho {
		t.Errorf("an echo speaks %s", got.Speaks)
	}
}

func TestShape(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"hello from process 17", "hello from process 4711", true},
		{`{"id":"9f3c2a","up":"12.5s"}`, `{"id":"0ab77e","up":"3.1s"}`, true},
		{"hello", "error", false},
		{"", "x", false},
	} {
		if got := string(shape([]byte(tt.a))) == string(shape([]byte(tt.b))); got != tt.same {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}
