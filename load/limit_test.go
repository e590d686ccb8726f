package load

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test binary a server of its own, in another process, when
// it is asked to be one.
func TestMain(m *testing.M) {
	if os.Getenv("LOAD_TEST_SERVER") == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(l.Addr().String() + "\n")
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello\n")) })))
}

// server starts that process.
func server(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOAD_TEST_SERVER=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(line[:n]))
}

// TestLimit prints what this package can do and how exact it is, beside wrk.
// It takes the whole machine, so it must be asked for: LOAD_LIMIT=10s.
func TestLimit(t *testing.T) {
	d, err := time.ParseDuration(os.Getenv("LOAD_LIMIT"))
	if err != nil {
		t.Skip("LOAD_LIMIT is not set")
	}
	address := server(t)
	for _, kind := range []Kind{KeepAlive, PerConnection} {
		res := start(t, Options{Address: address, Kind: kind, Clients: 32, Rate: 5000, Duration: d}).Wait()
		t.Logf("open loop, %v, 5000/s: %d requests, %.1f/s, %d failed, %d unsent\n\tlatency  %v\n\tlateness %v",
			kind, res.Requests, res.Rate(), res.Failures, res.Unsent, res.Latency, res.Lateness)
		if res.Failures > 0 {
			t.Error(res)
		}
	}
	for _, kind := range []Kind{KeepAlive, PerConnection} {
		res := start(t, Options{Address: address, Kind: kind, Clients: 8, Duration: d}).Wait()
		t.Logf("closed loop, %v, 8 clients: %.0f/s, %d failed\n\tlatency  %v", kind, res.Rate(), res.Failures, res.Latency)
		args := []string{"-t1", "-c8", "-d" + d.String(), "--latency", "http://" + address + "/"}
		if kind == PerConnection {
			args = append(args, "-H", "Connection: close")
		}
		out, err := exec.Command("wrk", args...).CombinedOutput()
		t.Logf("wrk %v (%v)\n%s", args, err, out)
	}
}
