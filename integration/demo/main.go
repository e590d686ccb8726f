// Demo shows what hupt is for: a static Go server that knows nothing of it is
// restarted to a new version again and again, while clients ask it on a new
// connection each, and counts what they lost.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hupt/load"
	"hupt/supervisor"
)

var (
	restarts = flag.Int("restarts", 10, "how often to restart")
	clients  = flag.Int("clients", 8, "how many clients ask at once")
	every    = flag.Duration("every", 500*time.Millisecond, "how long to wait between restarts")
)

func main() {
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := demo(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "hupt-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Println("building hupt and a static Go server that knows nothing of it…")
	if err := build(ctx, dir); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if err := deploy(dir, 1); err != nil {
		return err
	}
	hupt := filepath.Join(dir, "hupt")
	runtime := filepath.Join(dir, "run")
	args := []string{"run", "--runtime-dir", runtime, "--", filepath.Join(dir, "server"), "-addr", address}
	fmt.Printf("$ hupt run -- ./server -addr %s\n", address)
	server := exec.Command(hupt, args...)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		server.Process.Signal(os.Interrupt)
		server.Wait()
	}()
	first, err := awaitAnswer(ctx, address)
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("the server does not answer: %w\n%s", err, text)
	}
	fmt.Printf("%d clients ask it, every request on a new connection\n\n", *clients)
	fmt.Printf("           answers as           ready after   requests   failed\n")
	run, err := load.Start(ctx, load.Options{Address: address, Clients: *clients,
		Tag: func(body []byte) string { return strings.TrimSpace(string(body)) }})
	if err != nil {
		return err
	}
	row(0, first, 0, run.Snapshot())
	for n := 1; n <= *restarts && pause(ctx, *every); n++ {
		if err := deploy(dir, n+1); err != nil {
			return err
		}
		run.SetPhase(fmt.Sprintf("restart %d", n))
		ready, err := restart(ctx, hupt, runtime, server.Process.Pid)
		if err != nil {
			return err
		}
		run.SetPhase("")
		who, err := awaitAnswer(ctx, address)
		if err != nil {
			return err
		}
		row(n, who, ready, run.Snapshot())
	}
	pause(ctx, *every)
	return conclude(run.Stop())
}

// build compiles hupt and the server into dir.
func build(ctx context.Context, dir string) error {
	for out, pkg := range map[string]string{"hupt": "./cmd/hupt", "base": "./integration/testdata/gohttp"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, out), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
		}
	}
	return nil
}

// deploy puts a new version of the server where the old one was: another
// file, by a rename, as deployments do.
func deploy(dir string, version int) error {
	program, err := os.ReadFile(filepath.Join(dir, "base"))
	if err != nil {
		return err
	}
	const place = "hupt-code-version:"
	from, to := fmt.Sprintf("%s%-16s", place, "0"), fmt.Sprintf("%s%-16s", place, fmt.Sprintf("v%d", version))
	next := filepath.Join(dir, "next")
	if err := os.WriteFile(next, []byte(strings.ReplaceAll(string(program), from, to)), 0o755); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(dir, "server"))
}

// freeAddress is a loopback address below the ports that clients get.
func freeAddress() (string, error) {
	for port := 18080; port < 28080; port++ {
		address := "127.0.0.1:" + strconv.Itoa(port)
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no free port")
}

// restart restarts and says how long the new version took to be ready.
func restart(ctx context.Context, hupt, runtime string, pid int) (time.Duration, error) {
	out, err := exec.CommandContext(ctx, hupt, "restart", "--json", "--runtime-dir", runtime, strconv.Itoa(pid)).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("hupt restart: %w\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		var e supervisor.Event
		if json.Unmarshal([]byte(line), &e) == nil && e.Kind == supervisor.EventReady {
			return time.Duration(e.After * float64(time.Second)), nil
		}
	}
	return 0, nil
}

// awaitAnswer asks until it is answered, and returns the answer.
func awaitAnswer(ctx context.Context, address string) (string, error) {
	var last error
	for range 500 {
		one, err := load.Start(ctx, load.Options{Address: address, Clients: 1, Requests: 1,
			Tag: func(body []byte) string { return strings.TrimSpace(string(body)) }})
		if err != nil {
			return "", err
		}
		r := one.Wait()
		for who := range r.Tags {
			return who, nil
		}
		if len(r.First) > 0 {
			last = fmt.Errorf("%s", r.First[0].Text)
		}
		if !pause(ctx, 10*time.Millisecond) {
			return "", ctx.Err()
		}
	}
	return "", last
}

func row(n int, who string, ready time.Duration, r load.Result) {
	name, after := "start", ""
	if n > 0 {
		name, after = fmt.Sprintf("restart %d", n), ready.Round(time.Millisecond).String()
	}
	fmt.Printf("%-10s %-20s %11s %10d %8d\n", name, who, after, r.Requests, r.Failures)
}

func conclude(r load.Result) error {
	fmt.Printf("\n%d requests (%.0f a second) over %d restarts: %d failed\n", r.Requests, r.Rate(), *restarts, r.Failures)
	fmt.Printf("latency of all       %s\n", r.Latency)
	fmt.Printf("  during restarts    %s\n", r.Restarts)
	fmt.Printf("  between them       %s\n", r.Quiet)
	for _, f := range r.First {
		fmt.Println(" ", f)
	}
	if r.Failures > 0 {
		return fmt.Errorf("%d requests were lost", r.Failures)
	}
	return nil
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
