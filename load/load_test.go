package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hupt/internal/machine"
)

// raw is a server that gives each connection to handle, which must not close it.
func raw(t *testing.T, handle func(n int64, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := int64(0); ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(n, c)
			}()
		}
	}()
	return l.Addr().String()
}

// head reads a request up to its empty line.
func head(br *bufio.Reader) error {
	for {
		line, err := br.ReadString('\n')
		if err != nil || line == "\r\n" {
			return err
		}
	}
}

func start(t *testing.T, o Options) *Run {
	t.Helper()
	r, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hostOf(url string) string { return strings.TrimPrefix(url, "http://") }

func TestGoodServer(t *testing.T) {
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "pid 7 %s %s %s", r.Method, r.Header.Get("X-A"), body)
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	for _, kind := range []Kind{PerConnection, KeepAlive, Slow, LongLived} {
		for _, rate := range []float64{0, 400} {
			t.Run(fmt.Sprintf("%v at %v", kind, rate), func(t *testing.T) {
				conns.Store(0)
				var seen atomic.Int64
				r := start(t, Options{Address: hostOf(s.URL), Kind: kind, Rate: rate, Clients: 4, Requests: 100,
					Hold: time.Millisecond, Method: "POST", Header: http.Header{"X-A": {"b"}}, Body: []byte("hello"),
					Check: func(_ int, body []byte) error {
						if string(body) != "pid 7 POST b hello" {
							return fmt.Errorf("%q", body)
						}
						return nil
					},
					Tag:     func(body []byte) string { return string(body[:5]) },
					Observe: func(Sample) { seen.Add(1) }})
				res := r.Wait()
				if res.Requests != 100 || res.Failures != 0 || res.Tags["pid 7"].Requests != 100 || seen.Load() != 100 {
					t.Fatalf("%+v, seen %d", res, seen.Load())
				}
				if res.Latency.Count != 100 || res.Latency.Max <= 0 || res.Latency.P50 > res.Latency.Max {
					t.Errorf("latency %+v", res.Latency)
				}
				want := int64(100)
				if kind.kept() {
					want = 4
				}
				if n := conns.Load(); n > want || !kind.kept() && n != want {
					t.Errorf("%d connections, want %d", n, want)
				}
			})
		}
	}
}

func TestUnixAndV6(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, at := range [][2]string{{"unix", path}, {"tcp", "[::1]:0"}} {
		l, err := net.Listen(at[0], at[1])
		if err != nil {
			t.Skip(err)
		}
		s := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })}
		go s.Serve(l)
		res := start(t, Options{Network: at[0], Address: l.Addr().String(), Requests: 50}).Wait()
		s.Close()
		if res.Requests != 50 || res.Failures != 0 {
			t.Errorf("%s: %v", at[0], res)
		}
	}
}

func TestRaw(t *testing.T) {
	addr := raw(t, func(_ int64, c net.Conn) {
		br := bufio.NewReader(c)
		for {
			if line, err := br.ReadString('\n'); err != nil || line != "PING\r\n" {
				return
			}
			io.WriteString(c, "+PONG\r\n")
		}
	})
	for _, kind := range []Kind{PerConnection, KeepAlive, Slow} {
		res := start(t, Options{Address: addr, Kind: kind, Requests: 20, Hold: time.Millisecond, Raw: &Raw{Send: []byte("PING\r\n"), Expect: []byte("+PONG")}}).Wait()
		if res.Requests != 20 || res.Failures != 0 {
			t.Errorf("%v: %v", kind, res)
		}
	}
	res := start(t, Options{Address: addr, Requests: 5, Raw: &Raw{Send: []byte("PING\r\n"), Expect: []byte("-NO")}}).Wait()
	if res.ByClass[ClassBody] != 5 {
		t.Errorf("wrong answer: %v", res)
	}
}

func TestUDP(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
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
	res := start(t, Options{Network: "udp", Address: pc.LocalAddr().String(), Requests: 20, Raw: &Raw{Send: []byte("hi"), Expect: []byte("hi")}}).Wait()
	if res.Requests != 20 || res.Failures != 0 {
		t.Error(res)
	}
}

// Each bad server loses requests in its own way; the class must name it.
func TestClasses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	answer := func(s string) func(int64, net.Conn) {
		return func(_ int64, c net.Conn) {
			if head(bufio.NewReader(c)) == nil {
				io.WriteString(c, s)
			}
		}
	}
	reset := func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }
	for name, tt := range map[string]struct {
		handle func(int64, net.Conn)
		kind   Kind
		want   Class
	}{
		"good":              {answer(ok), PerConnection, ClassNone},
		"continue first":    {answer("HTTP/1.1 100 Continue\r\n\r\n" + ok), PerConnection, ClassNone},
		"reset on accept":   {func(_ int64, c net.Conn) { reset(c) }, PerConnection, ClassReset},
		"reset after half":  {func(_ int64, c net.Conn) { io.ReadFull(c, make([]byte, 20)); reset(c) }, Slow, ClassReset},
		"closed unanswered": {answer(""), PerConnection, ClassClosed},
		"short body":        {answer(ok[:len(ok)-2]), PerConnection, ClassShort},
		"short chunk":       {answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), PerConnection, ClassShort},
		"short header":      {answer("HTTP/1.1 200 OK\r\nCont"), PerConnection, ClassShort},
		"garbage":           {answer("\x16\x03\x01 what?\r\n\r\n"), PerConnection, ClassMalformed},
		"wrong status":      {answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), KeepAlive, ClassStatus},
		"wrong body":        {answer(strings.Replace(ok, "hello", "HELLO", 1)), PerConnection, ClassBody},
		"hangs":             {func(_ int64, c net.Conn) { io.Copy(io.Discard, c) }, PerConnection, ClassTimeout},
		"trickles":          {func(n int64, c net.Conn) { answer(ok[:len(ok)-1])(n, c); io.Copy(io.Discard, c) }, PerConnection, ClassTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := start(t, Options{Address: raw(t, tt.handle), Kind: tt.kind, Clients: 2, Requests: 6,
				Hold: 20 * time.Millisecond, Timeout: machine.Patience(150 * time.Millisecond),
				Check: func(status int, body []byte) error {
					if status != 200 || string(body) != "hello" {
						return errors.New("not hello")
					}
					return nil
				}}).Wait()
			want := int64(6)
			if tt.want == ClassNone {
				want = 0
			}
			if res.Requests != 6 || res.Failures != want || res.ByClass[tt.want] != want {
				t.Errorf("want 6 %q, got %v", tt.want, res)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, at := range [][2]string{{"tcp", l.Addr().String()}, {"unix", filepath.Join(t.TempDir(), "none")}} {
		res := start(t, Options{Network: at[0], Address: at[1], Requests: 10, KeepFailures: 3}).Wait()
		if res.ByClass[ClassRefused] != 10 || len(res.First) != 3 || res.First[2].Step != "connect" {
			t.Errorf("%s: %+v", at[0], res)
		}
	}
}

// TestPhaseOfFailure: a failure is of the phase in which it ended.
func TestPhaseOfFailure(t *testing.T) {
	begun := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-begun
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	r := start(t, Options{Address: hostOf(s.URL), Clients: 2, Requests: 4, KeepFailures: 4})
	const phase = "restart 1: starting"
	r.SetPhase(phase)
	close(begun)
	res := r.Wait()
	if len(res.First) != 4 {
		t.Errorf("%+v", res)
	}
	for _, f := range res.First {
		if f.Phase != phase {
			t.Errorf("phase %q: %v", f.Phase, f)
		}
	}
}

func TestClassify(t *testing.T) {
	for errno, want := range map[syscall.Errno]Class{
		syscall.ECONNREFUSED: ClassRefused, syscall.ECONNRESET: ClassReset, syscall.EPIPE: ClassReset,
		syscall.ETIMEDOUT: ClassTimeout, syscall.EADDRNOTAVAIL: ClassOther,
	} {
		if got := failed("connect", fmt.Errorf("x: %w", errno)).class; got != want {
			t.Errorf("%v: %s, want %s", errno, got, want)
		}
	}
}

// A kept connection that is closed while idle costs nobody a request; one that
// is closed when a request was written does.
func TestKeptConnection(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	serve := func(answers int) string {
		return raw(t, func(_ int64, c net.Conn) {
			br := bufio.NewReader(c)
			for range answers {
				if head(br) != nil {
					return
				}
				io.WriteString(c, ok)
			}
			if answers == 1 {
				return // idle: nothing was written to us since
			}
			head(br)
		})
	}
	res := start(t, Options{Address: serve(1), Kind: LongLived, Hold: 20 * time.Millisecond, Clients: 1, Requests: 5}).Wait()
	if res.Failures != 0 || res.Reconnects != 4 {
		t.Errorf("closed idle: %+v", res)
	}
	res = start(t, Options{Address: serve(2), Kind: LongLived, Hold: 20 * time.Millisecond, Clients: 1, Requests: 6}).Wait()
	if res.ByClass[ClassClosed] != 2 {
		t.Errorf("closed in use: %+v", res)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer s.Close()
	c := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	c.ServerName = "example.com"
	for _, kind := range []Kind{PerConnection, LongLived} {
		res := start(t, Options{Address: strings.TrimPrefix(s.URL, "https://"), TLS: c, Kind: kind, Hold: time.Millisecond, Requests: 30, Clients: 3}).Wait()
		if res.Failures != 0 || res.Requests != 30 {
			t.Errorf("%v: %v", kind, res)
		}
		if res.Reconnects != 0 {
			t.Errorf("%v: %d reconnects", kind, res.Reconnects)
		}
	}
}

// In an open loop, a server that stands still for 300 ms shows in all that was
// due meanwhile, not only in what was in flight.
func TestNoCoordinatedOmission(t *testing.T) {
	var first atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now().UnixNano()
		first.CompareAndSwap(0, now)
		if d := 300*time.Millisecond - time.Duration(now-first.Load()); d > 0 {
			time.Sleep(d)
		}
	}))
	defer s.Close()
	res := start(t, Options{Address: hostOf(s.URL), Clients: 2, Rate: 200, Duration: 600 * time.Millisecond}).Wait()
	if res.Requests < 115 || res.Failures != 0 || res.Unsent != 0 {
		t.Fatalf("%v", res)
	}
	// 60 of 120 were due in the stand-still, waiting 0 to 300 ms.
	if p75 := res.Latency.Quantile(75); p75 < 80*time.Millisecond {
		t.Errorf("a quarter waited at most %v: %v", p75, res.Latency)
	}
}

func TestPhasesAndStop(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Millisecond) }))
	defer s.Close()
	r := start(t, Options{Address: hostOf(s.URL), Clients: 2})
	wait := func(n int64) {
		for from := r.Snapshot().Requests; r.Snapshot().Requests < from+n; {
			time.Sleep(time.Millisecond)
		}
	}
	wait(20)
	r.SetPhase("restart 1: draining")
	wait(20)
	r.SetPhase("")
	wait(20)
	res := r.Stop()
	if res.Failures != 0 || res.Quiet.Count < 30 || res.Restarts.Count < 15 || res.Quiet.Count+res.Restarts.Count != res.Requests {
		t.Errorf("%+v", res)
	}
	if len(res.Phases) != 2 || res.Phases[1].Phase != "restart 1: draining" || res.Phases[1].Requests != res.Restarts.Count {
		t.Errorf("phases %+v", res.Phases)
	}
	m := Merge(res, res)
	if m.Requests != 2*res.Requests || m.Restarts.Count != 2*res.Restarts.Count || m.Latency.Max != res.Latency.Max {
		t.Errorf("merged %+v", m)
	}
}

func TestCancel(t *testing.T) {
	addr := raw(t, func(_ int64, c net.Conn) { io.Copy(io.Discard, c) })
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Start(ctx, Options{Address: addr, Clients: 3, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	cancel()
	if res := r.Wait(); res.Requests != 0 || res.Failures != 0 {
		t.Errorf("%v", res)
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []Options{{}, {Address: "localhost"}, {Address: "example.com:80"}, {Network: "udp", Address: "127.0.0.1:1"}, {Address: "127.0.0.1:1", Rate: -1}} {
		if _, err := Start(t.Context(), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// What was due when a run is stopped is still sent, so that a server can't
// hide a stand-still behind the end; but not for ever.
func TestStopSendsWhatWasDue(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }))
	defer s.Close()
	r := start(t, Options{Address: hostOf(s.URL), Clients: 1, Rate: 100})
	time.Sleep(300 * time.Millisecond)
	res := r.Stop() // about 30 were due, of which 15 were sent
	if res.Unsent != 0 || res.Requests < 25 || res.Latency.Max < 200*time.Millisecond {
		t.Errorf("%d unsent, %v", res.Unsent, res)
	}
	hang := raw(t, func(_ int64, c net.Conn) { io.Copy(io.Discard, c) })
	r = start(t, Options{Address: hang, Clients: 1, Rate: 100, Timeout: 100 * time.Millisecond})
	time.Sleep(300 * time.Millisecond)
	res = r.Stop()
	if res.Unsent < 10 || res.ByClass[ClassTimeout] < 2 {
		t.Errorf("%d unsent, %v", res.Unsent, res)
	}
}
