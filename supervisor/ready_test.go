package supervisor

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/internal/machine"
)

// notifySocket is where generation n is to say that it is ready.
func (r *run) notifySocket(n int) *net.UnixConn {
	r.t.Helper()
	for kv := range strings.SplitSeq(strings.ReplaceAll(r.spec(n), " ", "\n"), "\n") {
		if name, ok := strings.CutPrefix(kv, "NOTIFY_SOCKET="); ok {
			c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
			if err != nil {
				r.t.Fatal(err)
			}
			r.t.Cleanup(func() { c.Close() })
			return c
		}
	}
	r.t.Fatalf("no NOTIFY_SOCKET for generation %d", n)
	return nil
}

// service is a systemd that writes down what it is told.
type service struct {
	t    *testing.T
	conn *net.UnixConn
}

func newService(t *testing.T) *service {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &service{t, conn}
}

// wants reads one message, in which a number may stand for any.
func (s *service) wants(want string) {
	s.t.Helper()
	b := make([]byte, 4096)
	s.conn.SetReadDeadline(time.Now().Add(machine.Patience(10 * time.Second)))
	n, err := s.conn.Read(b)
	if err != nil {
		s.t.Fatalf("systemd is never told %q: %v", want, err)
	}
	got := strings.ReplaceAll(string(b[:n]), "\n", " ")
	if i := strings.Index(got, "MONOTONIC_USEC="); i >= 0 {
		got = got[:i] + "MONOTONIC_USEC"
	}
	if got != want {
		s.t.Fatalf("systemd is told %q, not %q", got, want)
	}
}

// TestNotify: the program's word makes it ready, and what it says otherwise
// reaches systemd, as far as it is true of the service.
func TestNotify(t *testing.T) {
	d := newService(t)
	r := begin(t, func(c *Config, _ *fakeTracer) { c.Ready.Kind = ReadyNotify })
	say := r.notifySocket(1)
	r.await(EventStarting)
	r.serve(1)
	r.asked("settle 1")
	say.Write([]byte("STATUS=warming up\nMAINPID=1\nFDSTORE=1"))
	d.wants("STATUS=warming up")
	say.Write([]byte("READY=0\nREADY=1\nBARRIER=1\n"))
	r.await(EventServing)
	d.wants("READY=1 MAINPID=" + itoa(os.Getpid()))
	say.Write([]byte("X_ODD=1"))
	d.wants("X_ODD=1")
	say.Write([]byte("WATCHDOG=trigger\nWATCHDOG_USEC=1\nMAINPIDFD=1\nNOTIFYACCESS=all\nEXIT_STATUS=0\nSTATUS=the rest"))
	d.wants("STATUS=the rest")
	say.Write([]byte("WATCHDOG=1"))
	d.wants("WATCHDOG=1")
	say.Write([]byte("RELOADING=1\nMONOTONIC_USEC=5"))
	d.wants("RELOADING=1 MONOTONIC_USEC")
	say.Write([]byte("READY=1\nSTATUS=reloaded"))
	d.wants("READY=1 STATUS=reloaded")

	events, _, err := r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.wants("RELOADING=1 MONOTONIC_USEC")
	next := r.notifySocket(2)
	r.serve(2)
	next.Write([]byte("STATUS=not yet mine to tell"))
	say.Write([]byte("STATUS=still mine"))
	d.wants("STATUS=still mine")
	r.never("quiesce 1")
	next.Write([]byte("READY=1"))
	r.asked("quiesce 1")
	d.wants("READY=1 STATUS=generation 2 serves")
	r.kinds(events)
	say.Write([]byte("STOPPING=1\nSTATUS=bye")) // gone: nobody hears it

	events, _, err = r.Restart(RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.wants("RELOADING=1 MONOTONIC_USEC")
	r.gen(3)
	r.await(EventStarting)
	r.fakeTracer.end(3, 0x0100)
	r.kinds(events)
	b := make([]byte, 4096)
	if n, _ := d.conn.Read(b); !strings.HasPrefix(string(b[:n]), "READY=1\nSTATUS=generation 3 failed: it exited with status 1") {
		t.Errorf("after a failure systemd is told %q", b[:n])
	}
	r.stop()
	d.wants("STOPPING=1")
}

// TestSystemdWithoutNotify: with another readiness hupt tells systemd, and a
// program without a NOTIFY_SOCKET of its own gets none.
func TestSystemdWithoutNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	r := start(t)
	r.restarted(2, RestartOptions{})
	if strings.Contains(r.spec(2), "NOTIFY_SOCKET") {
		t.Error(r.spec(2))
	}
	d := newService(t)
	r2 := start(t)
	d.wants("READY=1 MAINPID=" + itoa(os.Getpid()))
	r2.notifySocket(1).Write([]byte("EXTEND_TIMEOUT_USEC=7"))
	d.wants("EXTEND_TIMEOUT_USEC=7")
	// One that listens on nothing is ready when it had its time.
	newService(t)
	d = newService(t)
	begin(t, func(c *Config, _ *fakeTracer) { c.ReadyTimeout = 100 * time.Millisecond })
	d.wants("READY=1 MAINPID=" + itoa(os.Getpid()))
}

func TestReadyDelay(t *testing.T) {
	const delay = 300 * time.Millisecond
	r := begin(t, func(c *Config, _ *fakeTracer) { c.Ready = Ready{Kind: ReadyDelay, Delay: delay} })
	r.serve(1)
	r.await(EventServing)
	began := time.Now()
	r.restarted(2, RestartOptions{})
	if took := time.Since(began); took < delay {
		t.Errorf("ready after %v", took)
	}
	r.asked("launch 2", "admit 2", "quiesce 1", "settle 2")
}

func TestReadyCommand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ok")
	r := begin(t, func(c *Config, _ *fakeTracer) {
		c.Ready = Ready{Kind: ReadyCommand, Command: `echo "$HUPT_GENERATION $HUPT_PROGRAM_PID $A" >> ` + dir + `/asked; test -e ` + file + ` || { echo not; echo yet >&2; exit 3; }`}
	})
	r.serve(1)
	r.asked("settle 1")
	put(t, file, "")
	r.await(EventServing)
	os.Remove(file)
	os.Remove(dir + "/asked")
	events, _, err := r.Restart(RestartOptions{ReadyTimeout: machine.Patience(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	r.serve(2)
	if got := r.kinds(events); !strings.HasSuffix(got, "failed 2") {
		t.Errorf("told %s", got)
	}
	if e := r.await(EventFailed); !strings.Contains(e.Reason, "exit 3; }\" exited with status 3: yet; generation 1 serves on") {
		t.Errorf("%+v", e)
	}
	if got := content(dir + "/asked"); !strings.HasPrefix(got, "2 1002 1\n") {
		t.Errorf("asked as %q", got)
	}
	put(t, file, "")
	r.restarted(3, RestartOptions{})
}

// TestHelper: one that hangs is killed with all that it started.
func TestHelper(t *testing.T) {
	r := start(t)
	p := &program{env: []string{"PATH=/bin:/usr/bin"}, dir: "/tmp"}
	pidfile := filepath.Join(t.TempDir(), "pid")
	began := time.Now()
	limit := machine.Patience(time.Second).Round(time.Second)
	err := r.Supervisor.run(helper{command: "sleep 100 & echo $! > " + pidfile + "; sleep 100", program: p, limit: limit})
	if err == nil || !strings.Contains(err.Error(), "was killed: it took more than "+limit.String()) || time.Since(began) > 90*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	pid, err := strconv.Atoi(content(pidfile))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(machine.Patience(5 * time.Second)); time.Now().Before(end); {
		if unix.Kill(pid, 0) != nil || strings.Contains(content("/proc/"+itoa(pid)+"/stat"), ") Z ") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if unix.Kill(pid, 0) == nil && !strings.Contains(content("/proc/"+itoa(pid)+"/stat"), ") Z ") {
		t.Errorf("process %d of the helper lives", pid)
	}
	// One that leaves something behind is not waited for.
	began = time.Now()
	err = r.Supervisor.run(helper{command: "sleep 30 & pwd; exit 4", program: p, limit: time.Minute, what: "x"})
	if err == nil || err.Error() != "exited with status 4" || time.Since(began) > 29*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if e := r.await(EventOutput); e.Source != "x" || e.Reason != "/tmp" {
		t.Errorf("%+v", e)
	}
	if err := r.Supervisor.run(helper{command: "exit 0", program: &program{dir: "/nosuch"}, limit: time.Minute}); err == nil {
		t.Error("a directory that is not there is no error")
	}
	quit := make(chan struct{})
	close(quit)
	if err := r.Supervisor.run(helper{command: "sleep 100", program: p, limit: time.Minute, quit: quit}); err != errQuit {
		t.Errorf("%v", err)
	}
}

// TestOneAssignment: what a program chose, the path of a socket for one, begins no
// assignment of its own in what systemd is told.
func TestOneAssignment(t *testing.T) {
	d := newService(t)
	told := systemd{upstream: os.Getenv("NOTIFY_SOCKET"), reloads: true}
	told.reloaded("bind to /tmp/x\nMAINPID=1\nWATCHDOG=trigger failed")
	d.wants("READY=1 STATUS=bind to /tmp/x?MAINPID=1?WATCHDOG=trigger failed")
}

// TestMayTell: a worker that has left root behind does not speak for its master.
func TestMayTell(t *testing.T) {
	r := start(t)
	r.call(func() {
		traced := r.gens[1].traced
		other := uint32(os.Getuid() + 1)
		for _, c := range []struct {
			pid  int
			uid  uint32
			want bool
		}{
			{os.Getpid(), other, true}, // the main process, whatever it has become
			{traced.Root, other, false},
			{1, other, false},
			{1, uint32(os.Getuid()), true},
			{1, 0, true},
		} {
			if got := mayTell(os.Getpid(), &unix.Ucred{Pid: int32(c.pid), Uid: c.uid}); got != c.want {
				t.Errorf("pid %d of uid %d: %v", c.pid, c.uid, got)
			}
		}
	})
}

// TestRate: a flood waits.
func TestRate(t *testing.T) {
	var r rate
	now := time.Now()
	for n := range notifyRate {
		if p := r.pause(now); p != 0 {
			t.Fatalf("message %d waits %v", n, p)
		}
	}
	if p := r.pause(now.Add(300 * time.Millisecond)); p != 700*time.Millisecond {
		t.Errorf("one too many waits %v", p)
	}
	if p := r.pause(now.Add(time.Second)); p != 0 {
		t.Errorf("a second later it waits %v", p)
	}
}
