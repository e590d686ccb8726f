package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/supervisor"
)

func talkServer(model string) *victim { return c("c-"+model, "talk", "model="+model) }

// client is a connection that tests talk on by hand, and on which nothing may
// fail.
type client struct {
	*kept
	t *testing.T
}

func dialSite(t *testing.T, s *site) *client {
	t.Helper()
	k, err := dialKept(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return &client{k, t}
}

// get asks by HTTP, and returns the response, read whole.
func (c *client) get(header ...string) *http.Response {
	c.t.Helper()
	r, err := c.roundTrip(header...)
	if err != nil {
		c.t.Fatalf("a request that must be answered: %v", err)
	}
	return r
}

// echoes sends a line and must get it back.
func (c *client) echoes(line string) {
	c.t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintln(c, line)
	got, err := c.r.ReadString('\n')
	if err != nil || got != line+"\n" {
		c.t.Fatalf("%q was echoed as %q, %v", line, got, err)
	}
}

// ended waits until the server has closed.
func (c *client) ended() {
	c.t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if b, err := c.r.ReadByte(); err != io.EOF {
		c.t.Errorf("instead of an end: %q, %v", b, err)
	}
}

func (i *instance) awaitState(state supervisor.ConnectionState, n int) {
	i.t.Helper()
	await(i.t, fmt.Sprintf("%d connections that are %s", n, state), func() bool { return len(i.connections(state)) == n })
}

// connections is those of generation 1 in a state.
func (i *instance) connections(state supervisor.ConnectionState) (found []supervisor.ConnectionStatus) {
	i.t.Helper()
	out, code := i.hupt("status", "--json", "--connections")
	if code != 0 {
		i.t.Fatalf("hupt status: exit code %d\n%s", code, out)
	}
	s, err := parseStatus(out)
	if err != nil {
		i.t.Fatal(err)
	}
	for _, g := range s.Generations {
		for _, c := range g.Connected {
			if g.Number == 1 && c.State == state {
				found = append(found, c)
			}
		}
	}
	return found
}

// TestDrainUntouched: websockets and raw protocols that speak go on while
// their generation drains, silent for longer than the grace in between; the
// hammer cuts them, and that is counted.
func TestDrainUntouched(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"echo", "websocket", "websocket-later"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, talkServer(strings.TrimSuffix(model, "-later")))
			i := launchAt(t, s.dir, launch{flags: []string{"--drain-timeout", "never", "--idle-grace", "3s", "--close-spread", "0"}, argv: s.argv()})
			var k *client
			await(t, "the server", func() bool {
				conn, err := dialKept(s)
				if err == nil {
					t.Cleanup(conn.Close)
					k = &client{conn, t}
				}
				return err == nil
			})
			upgrade := func() {
				if r := k.get("Connection: Upgrade\r\nUpgrade: websocket\r\n"); r.StatusCode != 101 || r.Header.Get("Connection") != "Upgrade" {
					t.Fatalf("asked for an upgrade, got %v", r)
				}
			}
			if model == "websocket" {
				upgrade()
			}
			var later *client
			if model == "websocket-later" {
				later = dialSite(t, s)
				later.get()
			}
			s.deploy("v1")
			i.restart()
			// Until its writes stop.
			canary := 0
			await(t, "its writes stop", func() bool {
				if canary++; model == "websocket-later" {
					return k.get().Close
				}
				k.echoes(fmt.Sprint("line ", canary))
				return i.status().Stops["seccomp:write"] > 0
			})
			switch model {
			case "websocket-later":
				k.Close()
				k = later
				upgrade()
				// What looks like a response in a stream that is none is left alone.
				k.echoes("HTTP/1.1 200 OK\r")
				k.echoes("Content-Length: 0\r")
				k.echoes("\r")
			default:
				for n := range 20 {
					k.echoes(fmt.Sprint("line ", n))
					time.Sleep(20 * time.Millisecond)
				}
			}
			time.Sleep(4 * time.Second) // longer than the grace
			k.echoes("still there")
			i.signal(unix.SIGUSR2)
			k.SetDeadline(time.Now().Add(patience))
			if _, err := k.r.ReadByte(); err == nil {
				t.Error("it was not cut")
			}
			await(t, "1 connection cut", func() bool { return i.status().Cut == 1 })
		})
	}
}

// TestDrainLingerer: a client that was told to close and does not is closed.
func TestDrainLingerer(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("c-keepalive"))
	i := start(s, "--drain-timeout", "never", "--idle-grace", "100h")
	k := dialSite(t, s)
	if k.get().Close {
		t.Fatal("told to close while nothing drains")
	}
	s.deploy("v1")
	i.restart()
	await(t, "a response that says close", func() bool { return k.get().Close })
	k.ended()
	await(t, "the old generation's end", func() bool { return len(i.status().Generations) == 1 })
	if cut := i.status().Cut; cut != 0 {
		t.Errorf("%d connections were cut", cut)
	}
}

// TestDrainModes: what is done to a silent connection and to one that speaks
// HTTP, in each mode.
func TestDrainModes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode         string
		told, closed bool
		waited       bool
	}{
		{"idle", true, true, true},
		{"http", true, false, true},
		{"tcp", false, false, true},
		{"none", false, false, false},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, named("c-keepalive"))
			flags := []string{"--drain-timeout", "never", "--drain-port", fmt.Sprintf("%d=%s", s.port, c.mode), "--idle-grace", "1s", "--close-spread", "1s"}
			i := start(s, flags...)
			silent, asks := dialSite(t, s), dialSite(t, s)
			silent.get()
			asks.get()
			s.deploy("v1")
			if !c.waited {
				i.restart("--wait-drained")
				await(t, "2 connections cut", func() bool { return i.status().Cut == 2 })
				return
			}
			i.restart()
			if c.told {
				await(t, "a response that says close", func() bool { return asks.get().Close })
				asks.ended()
			} else {
				time.Sleep(time.Second)
				if asks.get().Close {
					t.Error("it was told to close")
				}
				asks.Close()
			}
			if c.closed {
				silent.ended()
				await(t, "the old generation's end", func() bool { return len(i.status().Generations) == 1 })
				return
			}
			time.Sleep(3 * time.Second)
			if n := len(i.connections(supervisor.ConnectionIdle)); n != 1 {
				t.Errorf("%d connections are idle, not 1", n)
			}
			silent.get()
			silent.Close()
		})
	}
}

// TestDrainBusy: a request in flight is never closed for being idle, however
// long it takes.
func TestDrainBusy(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	i := start(s, "--drain-timeout", "never", "--idle-grace", "200ms", "--close-spread", "0")
	k := dialSite(t, s)
	k.get()
	time.Sleep(100 * time.Millisecond) // not within a tick of the kernel's clock: nobody could tell
	fmt.Fprintf(k, "GET /?ms=5000 HTTP/1.1\r\nHost: x\r\n\r\n")
	s.deploy("v1")
	i.restart()
	i.awaitState(supervisor.ConnectionBusy, 1)
	k.SetDeadline(time.Now().Add(patience))
	r, err := http.ReadResponse(k.r, nil)
	if err != nil {
		t.Fatalf("the request in flight: %v", err)
	}
	if body, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(body), "version=v0") {
		t.Errorf("it was answered %q, %v", body, err)
	}
	k.ended()
}

// TestDrainLate: a client that has connected, and asks only after the grace of an idle
// connection, is answered, also where the new version waits for the end of the old one.
func TestDrainLate(t *testing.T) {
	t.Parallel()
	for _, flag := range modeFlags {
		for _, name := range []string{"go", "c-threads"} {
			t.Run(strings.Trim(flag, "-")+" "+name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, named(name))
				i := start(s, flag)
				late := dialSite(t, s)
				s.deploy("v1")
				restarted := make(chan struct{})
				go func() {
					defer close(restarted)
					i.restart()
				}()
				time.Sleep(2500 * time.Millisecond) // an idle one has a second
				if r := late.get(); r.StatusCode != 200 {
					t.Errorf("the late request got %v", r)
				}
				<-restarted
				newLineage(i).isNew(s, "v1")
			})
		}
	}
}

// TestDrainPortWarning: a port that nobody listens on is told.
func TestDrainPortWarning(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	i := start(s, "--drain-port", "1=tcp", "--drain-port", fmt.Sprintf("%d=http", s.port))
	await(t, "a warning", func() bool { return strings.Contains(i.tail(), "--drain-port 1=tcp: it does not listen on that port") })
	if strings.Contains(i.tail(), fmt.Sprintf("%d=http: it does not", s.port)) {
		t.Error("a port that it listens on is warned of")
	}
}
