package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settingsSite is a site whose server tells the settings of its listener.
func settingsSite(t *testing.T, kind string, args ...string) *site {
	t.Helper()
	v := c("c-settings", "settings", args...)
	if kind == "unix" {
		return unixSite(t, v, filepath.Join(tempDir(t), "socket"))
	}
	s := newSite(t, v)
	s.v.tag, s.v.check = bodyTag, checkBody
	if kind == "udp" {
		s.args = []string{"udp=1"}
	}
	return s
}

// settings asks the server, which is to be of that version, for its settings.
func (s *site) settings(version string) (text string) {
	s.t.Helper()
	// Twice: one that comes while it sets what it sets has some of that on its connection.
	for range 2 {
		await(s.t, version+" tells its settings", func() bool {
			text, _ = s.askSettings()
			_, text, _ = strings.Cut(text, " ") // the pid
			return strings.HasPrefix(text, version+" ")
		})
	}
	return strings.TrimPrefix(text, version+" ")
}

func (s *site) askSettings() (string, error) {
	network, address := "tcp", s.address()
	switch {
	case s.socket != "":
		network = "unix"
	case len(s.args) > 0:
		network = "udp"
	}
	conn, err := net.DialTimeout(network, address, patience/4)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience / 4))
	if _, err := conn.Write([]byte("settings\r\n\r\n")); err != nil {
		return "", err
	}
	if network == "udp" {
		b := make([]byte, 8192)
		n, err := conn.Read(b)
		return string(b[:n]), err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

// seen is what a version said of its settings before it served.
func (i *instance) seen(version string) string {
	b, _ := os.ReadFile(i.output)
	for line := range strings.Lines(string(b)) {
		if _, text, ok := strings.Cut(strings.TrimSpace(line), version+" sees "); ok {
			return text
		}
	}
	return "nothing"
}

// bareSettings is what a version sees of its settings if it is run without hupt, before
// it serves and then.
func bareSettings(t *testing.T, kind, version string, args ...string) (before, then string) {
	t.Helper()
	s := settingsSite(t, kind, args...)
	s.deploy(version)
	i := launchAt(t, s.dir, launch{bare: true, argv: s.argv()})
	then = s.settings(version)
	return i.seen(version), then
}

var device = regexp.MustCompile(` device=\S*`)

// sameSettings compares two lists of settings.
func sameSettings(t *testing.T, what, have, want string) {
	t.Helper()
	if os.Getuid() != 0 { // an ordinary user's hupt can't take a device off a socket again (socket(7))
		have, want = device.ReplaceAllString(have, ""), device.ReplaceAllString(want, "")
	}
	if have != want {
		t.Errorf("%s:\n%s", what, differences(strings.ReplaceAll(want, " ", "\n"), strings.ReplaceAll(have, " ", "\n")))
	}
}

var settingsKinds = []string{"tcp", "unix", "udp"}

// TestSettings: a version has on the socket that it took over what it set on its own before
// its bind, after it and once it listened, and nothing that its predecessor set.
func TestSettings(t *testing.T) {
	t.Parallel()
	for _, flag := range append([]string{"--order=start-first", "--revive"}, modeFlags...) {
		for _, kind := range settingsKinds {
			t.Run(strings.Trim(flag, "-")+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := settingsSite(t, kind)
				s.deploy("plain-0")
				i := launchAt(t, s.dir, launch{flags: []string{flag}, argv: s.argv()})
				for n, version := range []string{"plain-0", "sets-1", "plain-2", "plain-3", "sets-4", "sets-5"} {
					if n > 0 {
						s.deploy(version)
						i.restart("--wait-drained")
						// Till then a datagram socket has SO_REUSEPORT, and is not bound to a device.
						await(t, "the one before has gone", func() bool { return len(i.status().Generations) == 1 })
					}
					before, then := bareSettings(t, kind, version)
					sameSettings(t, version, s.settings(version), then)
					sameSettings(t, version+" before it serves", i.seen(version), before)
				}
				if i.says("accept:") > 0 || i.says("recvfrom:") > 0 {
					t.Errorf("a version noticed something\n%.2000s", i.tail())
				}
			})
		}
	}
}

// TestNoTrace: whatever a version does to the socket that it shares with the one that
// serves, before it fails, that one sees nothing of it, neither meanwhile nor afterwards.
func TestNoTrace(t *testing.T) {
	t.Parallel()
	for _, kind := range settingsKinds {
		for _, serving := range []string{"plain", "sets"} {
			t.Run(kind+"/"+serving, func(t *testing.T) {
				t.Parallel()
				group := fmt.Sprintf("239.%d.%d.%d", os.Getpid()>>8&255, os.Getpid()&255, 1+len(kind)+len(serving)*16)
				var args []string
				if kind == "udp" && serving == "plain" {
					args = []string{"group=" + group}
				}
				if kind == "unix" && os.Getuid() == 0 {
					args = []string{"user=12345"}
				}
				s := settingsSite(t, kind, args...)
				s.deploy(serving)
				i := launchAt(t, s.dir, launch{argv: s.argv()})
				want := s.settings(serving)
				for _, bad := range []string{"bad-plain", "bad-sets", "bad-listen", "bad-unbind", "bad-shut", "late-plain", "late-sets", "late-listen"} {
					if kind == "udp" && strings.HasSuffix(bad, "unbind") {
						continue // it has a peer then, or none
					}
					s.deploy(bad)
					if out, code := i.hupt("restart"); code != 1 {
						t.Errorf("%s: exit code %d: %s", bad, code, out)
					}
					sameSettings(t, serving+" after "+bad, s.settings(serving), want)
					if args != nil && kind == "udp" && isJoined(t, group) {
						t.Errorf("%s left the group %s joined", bad, group)
					}
				}
				if i.says("accept:") > 0 || i.says("recvfrom:") > 0 {
					t.Errorf("the one that serves noticed something\n%.2000s", i.tail())
				}
				s.deploy("plain-2")
				i.restart()
				s.settings("plain-2")
			})
		}
	}
}

// isJoined reports whether some socket is in a multicast group, by the kernel's list.
func isJoined(t *testing.T, group string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/net/igmp")
	if err != nil {
		t.Fatal(err)
	}
	ip := net.ParseIP(group).To4()
	return strings.Contains(strings.ToUpper(string(b)), fmt.Sprintf("%02X%02X%02X%02X", ip[3], ip[2], ip[1], ip[0]))
}

// TestSignalDriven: a server that waits for the signal that its listener gives (O_ASYNC, F_SETSIG) gets it
// in each generation, and after those that fail; nobody waits longer than bare.
func TestSignalDriven(t *testing.T) {
	t.Parallel()
	for _, flag := range append([]string{"--order=start-first"}, modeFlags...) {
		t.Run(strings.Trim(flag, "-"), func(t *testing.T) {
			t.Parallel()
			s := settingsSite(t, "tcp", "model=signal")
			s.deploy("plain-0")
			i := start(s, flag)
			o := paced(s)
			o.Rate, o.Clients, o.Timeout = 50, 20, patience
			run := begin(t, o)
			for n := 1; n <= 4; n++ {
				if flag == "--order=start-first" {
					for _, bad := range []string{"bad-plain", "late-plain"} {
						run.SetPhase(bad)
						s.deploy(bad)
						if out, code := i.hupt("restart"); code != 1 {
							t.Errorf("%s: exit code %d: %s", bad, code, out)
						}
						s.awaitAnswer()
					}
				}
				version := fmt.Sprintf("plain-%d", n)
				run.SetPhase(version)
				s.deploy(version)
				i.restart()
				if who := s.awaitAnswer(); who.version != version {
					t.Errorf("%s serves, not %s", who.version, version)
				}
			}
			noneFailed(t, "a server that waits for signals", run.Stop())
		})
	}
}

// TestListensAs: a client of a Unix listener sees who called listen(), with the user that
// it was then, in each generation and after those that fail.
func TestListensAs(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	for _, flag := range []string{"--order=start-first", "--revive", "--order=stop-first"} { // one that changed its user can't do --exec
		t.Run(strings.Trim(flag, "-"), func(t *testing.T) {
			t.Parallel()
			s := settingsSite(t, "unix")
			s.args = []string{"user=12345"}
			s.deploy("plain-0")
			i := launchAt(t, s.dir, launch{flags: []string{flag}, argv: s.argv()})
			for n := range 4 {
				version := fmt.Sprintf("plain-%d", n)
				if n > 0 {
					if flag == "--order=start-first" {
						s.deploy("bad-plain")
						i.hupt("restart")
						s.listensAs(i.serving().PID, 12345)
						s.deploy("late-plain")
						i.hupt("restart")
						s.listensAs(i.serving().PID, 12345)
					}
					s.deploy(version)
					i.restart()
				}
				s.settings(version)
				s.listensAs(i.serving().PID, 12345)
			}
		})
	}
}

// listensAs checks whom a client sees at the other end.
func (s *site) listensAs(pid, uid int) {
	s.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: s.socket}); err != nil {
		s.t.Error(err)
		return
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(cred.Pid) != pid || int(cred.Uid) != uid {
		s.t.Errorf("process %+v listens, %v, not %d as user %d", cred, err, pid, uid)
	}
}
