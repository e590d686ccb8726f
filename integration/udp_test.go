package integration

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// udpVictims answer datagrams.
var udpVictims = []*victim{
	c("c-recvfrom", "udp"),
	c("c-udp-epoll", "udp", "model=epoll"),
	c("c-udp-poll", "udp", "model=poll"),
	c("c-udp-select", "udp", "model=select"),
	c("c-recvmmsg", "udp", "model=mmsg"),
	{name: "go-udp", program: "goudp", argv: func(s *site) []string { return []string{s.program(), "-addr", s.address()} }},
	py("python-udp", "py/udp.py"),
}

func newUDPSite(t *testing.T, v *victim, host string) *site {
	s := &site{t: t, v: v, dir: tempDir(t), host: host, port: freePort(t), extra: map[string]string{}}
	s.deploy("v0")
	return s
}

func startUDP(s *site, flags ...string) *instance {
	s.t.Helper()
	i := launchAt(s.t, s.dir, launch{flags: flags, argv: s.argv(), env: s.env()})
	s.awaitDatagram()
	return i
}

func (s *site) awaitDatagram() (who tag) {
	s.t.Helper()
	await(s.t, s.v.name+" answers", func() bool {
		var err error
		who, err = askDatagram(s.address())
		return err == nil
	})
	return who
}

const datagramRestarts = 20

// datagramRate is 5,000 a second, and fewer in the smallest suites.
var datagramRate = min(5000, max(500, scale(100_000)))

// TestDatagrams: at 5,000 datagrams a second, each is answered, once, whoever
// serves; and after each restart it is the new version that does.
func TestDatagrams(t *testing.T) {
	t.Parallel()
	for _, v := range udpVictims {
		for _, host := range []string{"127.0.0.1", "::1"} {
			if host == "::1" && v.name != "c-udp-epoll" {
				continue
			}
			t.Run(v.name+"/"+host, func(t *testing.T) {
				t.Parallel()
				s := newUDPSite(t, v, host)
				i := startUDP(s)
				restarts := max(2, scale(datagramRestarts))
				d := sendDatagrams(t, s.address(), datagramRate)
				var pids []int
				for n := 1; n <= restarts; n++ {
					version := fmt.Sprintf("v%d", n)
					s.deploy(version)
					i.restart()
					who := s.awaitDatagram()
					if who.version != version || slices.Contains(pids, who.pid) {
						t.Errorf("after the restart to %s, %s of pid %d answers; before, %v did", version, who.version, who.pid, pids)
					}
					pids = append(pids, who.pid)
				}
				await(t, "the old ones have gone", func() bool { return len(i.status().Generations) == 1 })
				d.judge(fmt.Sprintf("%d restarts", restarts))
				if status := i.status(); status.Rollbacks != 0 || status.Cut != 0 {
					t.Errorf("hupt counts %d rollbacks, %d connections cut", status.Rollbacks, status.Cut)
				}
			})
		}
	}
}

// TestDatagramsBare: what the same restarts cost without hupt.
func TestDatagramsBare(t *testing.T) {
	t.Parallel()
	s := newUDPSite(t, udpVictims[1], "127.0.0.1")
	start := func() *instance {
		i := launchAt(t, s.dir, launch{bare: true, argv: s.argv(), env: s.env()})
		s.awaitDatagram()
		return i
	}
	i := start()
	d := sendDatagrams(t, s.address(), datagramRate)
	restarts := max(2, scale(datagramRestarts))
	for n := 1; n <= restarts; n++ {
		time.Sleep(100 * time.Millisecond)
		i.signal(unix.SIGTERM)
		i.waitEnd(patience)
		time.Sleep(50 * time.Millisecond) // what a server takes to start that does more than echo
		i = start()
	}
	sent, lost := d.end()
	t.Logf("bare: %d datagrams over %d restarts: %d not answered", sent, restarts, lost)
	if lost == 0 {
		t.Error("a server that is not there answers")
	}
}

// TestDatagramGroup: threads with a socket each on one port, more and fewer.
func TestDatagramGroup(t *testing.T) {
	t.Parallel()
	s := &site{t: t, v: c("udp-group", "udp", "model=epoll", "reuseport=1", "workers=@workers"), dir: tempDir(t), host: "127.0.0.1", port: freePort(t), extra: map[string]string{}}
	s.setWorkers(4)
	s.deploy("v0")
	i := startUDP(s)
	d := sendDatagrams(t, s.address(), datagramRate)
	sizes := []int{1, 4, 2, 4, 4}
	for n, size := range sizes[:max(3, scale(len(sizes)))] {
		version := fmt.Sprintf("v%d", n+1)
		s.setWorkers(size)
		s.deploy(version)
		began := time.Since(d.began)
		i.restart("--wait-drained")
		t.Logf("to %d sockets, from %v to %v", size, began, time.Since(d.began))
		if who := s.awaitDatagram(); who.version != version {
			t.Errorf("after the restart to %s, %s answers", version, who.version)
		}
	}
	d.judge("a group that changes in number")
	noWarning(t, i)
}

// TestDatagramBad: a version that fails costs no datagram, nor does one that
// fails once it serves.
func TestDatagramBad(t *testing.T) {
	t.Parallel()
	s := newUDPSite(t, udpVictims[1], "127.0.0.1")
	i := startUDP(s)
	d := sendDatagrams(t, s.address(), datagramRate)
	for n, how := range []string{"exit", "hang"} {
		s.deployBad(how)
		if out, code := i.hupt("restart", "--timeout", readyLimit.String()); code != 1 {
			t.Errorf("%s: exit code %d: %s", how, code, out)
		}
		version := fmt.Sprintf("v%d", n+1)
		s.deploy(version)
		i.restart()
		if who := s.awaitDatagram(); who.version != version {
			t.Errorf("after the restart to %s, %s answers", version, who.version)
		}
	}
	d.judge("versions that fail")
}

// TestDatagramsElsewhere: sockets that are bound to any address, of one family
// or both, to a port that the kernel chose, or not by the program at all.
func TestDatagramsElsewhere(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"0.0.0.0", "::", "port 0", "inherited"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newUDPSite(t, udpVictims[1], "127.0.0.1")
			l := launch{env: s.env()}
			address := s.address()
			switch how {
			case "port 0":
				s.port = 0
			case "inherited":
				conn, err := net.ListenPacket("udp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				f, err := conn.(*net.UDPConn).File()
				if err != nil {
					t.Fatal(err)
				}
				if err := unix.SetNonblock(int(f.Fd()), true); err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				address = conn.LocalAddr().String()
				l.inherit = []*os.File{f}
				s.args = []string{"fd=3"}
			default:
				s.host = how
			}
			l.argv = s.argv()
			i := launchAt(t, s.dir, l)
			if how == "port 0" {
				await(t, "it is bound", func() bool {
					status, err := i.look()
					if err != nil || len(status.Generations) == 0 || len(status.Generations[0].Sockets) == 0 {
						return false // too early
					}
					address = status.Generations[0].Sockets[0].Address
					return true
				})
			}
			await(t, "it answers", func() bool { _, err := askDatagram(address); return err == nil })
			d := sendDatagrams(t, address, min(1000, datagramRate))
			for n := 1; n <= 3; n++ {
				version := fmt.Sprintf("v%d", n)
				s.deploy(version)
				i.restart("--timeout", (patience / 2).String())
				if who, err := askDatagram(address); err != nil || who.version != version {
					t.Errorf("after the restart to %s, %s answers: %v", version, who.version, err)
				}
			}
			d.judge("bound to " + how)
		})
	}
}

// TestDatagramAnswersLate: what the old version received it answers, from the
// port that it was asked at, though it takes longer than the restart.
func TestDatagramAnswersLate(t *testing.T) {
	t.Parallel()
	s := newUDPSite(t, udpVictims[0], "127.0.0.1")
	i := startUDP(s)
	conn, err := net.Dial("udp", s.address()) // connected: it hears from that port only
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "datagram 0 ms=1200")
	time.Sleep(100 * time.Millisecond)
	s.deploy("v1")
	i.restart()
	if who := s.awaitDatagram(); who.version != "v1" {
		t.Errorf("%s answers", who.version)
	}
	b := make([]byte, 2048)
	conn.SetDeadline(time.Now().Add(patience))
	n, err := conn.Read(b)
	if err != nil || !strings.HasSuffix(string(b[:n]), "version=v0") {
		t.Errorf("%q, %v", b[:n], err)
	}
}
