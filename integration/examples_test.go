package integration

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The examples in the READMEs of huptime, hupwatch and endless, with the
// command's name and flags changed as docs/from-huptime.md and its like say.

// shell runs a script as a user types it, where `hupt` is ours and finds the
// instances of this test alone.
func shell(t *testing.T, dir, mark, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, installed(t, "bash"), "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+binDir+":"+os.Getenv("PATH"), "HUPT_RUNTIME_DIR="+filepath.Join(dir, "run"), markName+"="+mark)
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v in\n%s\n%s", err, script, out)
	}
	return string(out)
}

// myservice is a site whose program has a name that no other process has, as
// far as killall(1) looks.
func myservice(t *testing.T, victim string) (s *site, name string) {
	t.Helper()
	installed(t, "killall")
	v := *named(victim)
	argv := v.argv
	name = fmt.Sprintf("svc%08x", rand.Uint32())
	v.argv = func(s *site) []string {
		return append([]string{filepath.Join(s.dir, name)}, argv(s)[1:]...)
	}
	s = newSite(t, &v)
	s.link(filepath.Join(s.dir, name), s.program())
	return s, name
}

// TestExamplesHuptime: "Zero downtime restart" by killall, by huptime
// --restart, with a pool, and of a service with a pidfile.
func TestExamplesHuptime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, victim string
		flags        []string
		processes    int
	}{
		{"simple", "go", nil, 1},
		{"pool of its own", "c-prefork", nil, 1},
		{"unlink", "c-threads", []string{"--unlink", "myservice.pid"}, 1},
		{"multi", "c-threads", []string{"--multi=4"}, 4},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			s, name := myservice(t, c.victim)
			i := start(s, c.flags...)
			run := begin(t, paced(s))
			for n, script := range []string{
				"killall -HUP " + name,
				"hupt restart ./" + name, // huptime --restart /usr/bin/myservice
				"hupt restart " + name,
				"killall -HUP " + name,
			} {
				version := fmt.Sprintf("v%d", n+1)
				s.deploy(version)
				shell(t, s.dir, i.mark, strings.ReplaceAll(script, "./", s.dir+"/"))
				await(t, script, func() bool { st := i.status(); return st.Restarts == n+1 && st.State == "running" })
				for range 8 {
					if who, err := s.answer(); err != nil || who.version != version {
						t.Errorf("after %s: %v, %v", script, who, err)
					}
				}
				// The next killall is to be another one.
				time.Sleep(200 * time.Millisecond)
			}
			noneFailed(t, c.name, run.Stop())
		})
	}
}

// TestExampleFail: huptime's first example: three terminals, and no "fail" in
// the second.
func TestExampleFail(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "--exec"} {
		t.Run("mode"+mode, func(t *testing.T) {
			t.Parallel()
			exampleFail(t, mode)
		})
	}
}

func exampleFail(t *testing.T, mode string) {
	installed(t, "curl")
	dir, port := tempDir(t), freePort(t)
	mark := fmt.Sprintf("%d-%08x", os.Getpid(), rand.Uint32())
	t.Cleanup(func() { endAll(marked(mark, -1, dir)) })
	out := shell(t, dir, mark, `
hupt run $MODE `+installed(t, "python3")+` -m http.server --bind 127.0.0.1 $PORT 2>log &
PID=$!
until curl -s http://127.0.0.1:$PORT >/dev/null; do sleep 0.05; done
(for n in $(seq 150); do curl -s http://127.0.0.1:$PORT >/dev/null || echo "fail"; done) &
LOOP=$!
for n in 1 2 3; do
	sleep 0.4
	kill -HUP $PID
done
wait $LOOP
hupt status $PID | grep restarts
kill $PID
wait $PID || true
`, fmt.Sprintf("PORT=%d", port), "MODE="+mode)
	if strings.Contains(out, "fail") || !strings.Contains(out, ", 0 connections cut") || strings.Contains(out, "restarts  0,") {
		t.Errorf("%s", out)
	}
}

// TestExamplePool: huptime's script for somebody's own pool: N copies with
// --multi=1, reload by HUP to each, stop by TERM.
func TestExamplePool(t *testing.T) {
	t.Parallel()
	s, _ := myservice(t, "c-threads")
	mark := fmt.Sprintf("%d-%08x", os.Getpid(), rand.Uint32())
	script := filepath.Join(s.dir, "pool.sh")
	if err := os.WriteFile(script, []byte(`
pids="";
reload() {
    for pid in $pids; do
        kill -HUP $pid;
    done
}
stop() {
    for pid in $pids; do
        kill -TERM $pid;
    done
}
trap reload SIGHUP;
trap stop SIGTERM;
trap stop SIGINT;
count="0";
while [ "$count" -lt "$N" ]; do
    hupt run --multi=1 "$@" &
    pids="$pids $!";
    count=$(($count + 1));
done
for pid in $pids; do
    while kill -0 $pid 2>/dev/null; do wait $pid; done
done
`), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(installed(t, "bash"), append([]string{script}, s.argv()...)...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PATH="+binDir+":"+os.Getenv("PATH"), "HUPT_RUNTIME_DIR="+filepath.Join(s.dir, "run"), markName+"="+mark, "N=3")
	log, err := os.Create(filepath.Join(s.dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { endAll(marked(mark, -1, s.dir)) })
	s.awaitAnswer()
	said := func(what string) int {
		text, _ := os.ReadFile(log.Name())
		return strings.Count(string(text), what)
	}
	await(t, "all serve", func() bool { return said("generation 1 serves") == 3 })
	run := begin(t, paced(s))
	for n := 2; n <= 3; n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		cmd.Process.Signal(unix.SIGHUP)
		await(t, "all were reloaded", func() bool { return said(fmt.Sprintf("generation %d serves", n)) == 3 })
		time.Sleep(time.Second) // beyond the probation: a HUP in it is remembered, but comes later
	}
	noneFailed(t, "a pool of one's own", run.Stop())
	cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the pool does not end on TERM")
	}
}

// TestExampleRevive: "a zero downtime netcat": clients always find a server,
// and each gets the message.
func TestExampleRevive(t *testing.T) {
	t.Parallel()
	dir, port := tempDir(t), freePort(t)
	const message = "hello from the file\nand good bye\n"
	path := filepath.Join(dir, "message.txt")
	if err := os.WriteFile(path, []byte(message), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i := launchAt(t, dir, launch{flags: []string{"--revive"}, stdin: f, argv: []string{installed(t, "nc"), "-l", "127.0.0.1", fmt.Sprint(port)}})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	await(t, "netcat listens", func() bool {
		out, code := i.hupt("status", "--json")
		return code == 0 && strings.Contains(out, `"address": "`+address+`"`)
	})
	for n := range 30 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("client %d finds no server: %v\n%s", n, err, i.tail())
		}
		got := make([]byte, len(message))
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != message {
			t.Fatalf("client %d gets %q, %v", n, got, err)
		}
		c.Close()
	}
}

// TestExampleHupwatch: hupwatch -- gunicorn myapp:application --bind
// unix:/tmp/myapp.sock, and kill -HUP <hupwatch_pid>; with its -w and -k.
func TestExampleHupwatch(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	// As gunicorn does: it unlinks what is in its way, and at its end.
	s := unixSite(t, named("go"), filepath.Join(dir, "myapp.sock"), "-remove", "-close")
	i := start(s, "--ready", "delay:1", "--kill-at-exit")
	run := begin(t, s.load())
	for n := 1; n <= 2; n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		shell(t, s.dir, i.mark, fmt.Sprintf("kill -HUP %d", i.pid))
		await(t, "a restart", func() bool { return i.status().Restarts == n })
		if who, err := s.answer(); err != nil || who.version != version {
			t.Errorf("%v, %v", who, err)
		}
	}
	noneFailed(t, "hupwatch's example", run.Stop())
}

// TestExampleEndless: its simple server without endless: build another one in
// its place, and kill -1 the server itself.
func TestExampleEndless(t *testing.T) {
	t.Parallel()
	installed(t, "curl")
	s := newSite(t, named("go"))
	i := start(s)
	curl := func() string { return shell(t, s.dir, i.mark, "curl -s http://"+s.address()+"/hello") }
	if got := curl(); !strings.Contains(got, "version=v0") {
		t.Error(got)
	}
	s.deploy("v1")
	shell(t, s.dir, i.mark, fmt.Sprintf("kill -1 %d", i.serving().PID))
	await(t, "a restart", func() bool { return i.status().Restarts == 1 })
	if got := curl(); !strings.Contains(got, "version=v1") {
		t.Error(got)
	}
}
