package integration

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hupt/supervisor"
)

// ports is a Python program that waits for connections on ports, and on Unix paths, in one
// select(); {pid} in a path is its own pid.
func (s *site) ports(before string, at ...any) {
	s.t.Helper()
	var where []string
	for _, a := range at {
		if path, ok := a.(string); ok {
			where = append(where, strconv.Quote(path))
			continue
		}
		where = append(where, fmt.Sprint(a))
	}
	s.install(fmt.Appendf(nil, `import os, select, socket, sys, tempfile
%s
def listener(at):
    if isinstance(at, int):
        return socket.create_server(('127.0.0.1', at))
    s = socket.socket(socket.AF_UNIX)
    s.bind(at.format(pid=os.getpid(), tmp=tempfile.mkdtemp(dir='.')))
    s.listen()
    return s
all = [listener(at) for at in [%s]]
while True:
    for s in select.select(all, [], [])[0]:
        s.accept()[0].close()
`, before, strings.Join(where, ", ")), 0o644)
}

func tcp4(port int) string { return fmt.Sprintf("tcp4 127.0.0.1:%d", port) }

// connects reports whether somebody accepts connections at a port.
func connects(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		c.Close()
	}
	return err == nil
}

// TestMoves: a version that takes over none of its predecessor's addresses fails, unless it
// may; one that lets some go says which, unless it must not.
func TestMoves(t *testing.T) {
	t.Parallel()
	const limit = "--timeout=4s"
	for _, flags := range [][]string{nil, {"--order=stop-first"}, {"--exec"}, {"--multi=2"}, {"--multi=2", "--rolling"}, {"--revive"}} {
		begin := func(t *testing.T, more ...string) (*instance, *site, []int) {
			s := newSite(t, named("python-http1.1"))
			ports := []int{freePort(t), freePort(t), freePort(t)}
			slices.Sort(ports)
			s.ports("", ports[0], ports[1])
			i := launchAt(t, s.dir, launch{flags: slices.Concat(flags, more), argv: s.argv(), env: s.env()})
			await(t, "it serves", func() bool { return connects(ports[0]) && connects(ports[1]) })
			await(t, "it is said to serve", func() bool { return i.says("serves after") >= len(i.status().Generations) })
			return i, s, ports
		}
		name := strings.Trim(strings.Join(flags, ""), "-")
		t.Run(name+"/none", func(t *testing.T) {
			t.Parallel()
			i, s, ports := begin(t)
			s.ports("", ports[2])
			out, code := i.hupt("restart", limit)
			if code != 1 || !strings.Contains(out, "it took over none of the addresses of the version before ("+tcp4(ports[0])+", "+tcp4(ports[1])+"); --may-move") {
				t.Errorf("exit code %d\n%s", code, out)
			}
			if len(flags) > 0 && (flags[0] == "--order=stop-first" || flags[0] == "--exec") {
				return // what served before is a script that was overwritten
			}
			if !connects(ports[0]) || !connects(ports[1]) {
				t.Error("the old version does not serve")
			}
		})
		t.Run(name+"/may", func(t *testing.T) {
			t.Parallel()
			i, s, ports := begin(t)
			s.ports("", ports[2])
			out, code := i.hupt("restart", limit, "--may-move")
			if code != 0 || !strings.Contains(out, "it let go of "+tcp4(ports[0])+", "+tcp4(ports[1])) || !connects(ports[2]) {
				t.Errorf("exit code %d\n%s", code, out)
			}
			out, code = i.hupt("status")
			if code != 0 || !strings.Contains(out, "let go of\n    "+tcp4(ports[0])+"\n    "+tcp4(ports[1])+"\n") {
				t.Errorf("hupt status: exit code %d\n%s", code, out)
			}
			if out, code := i.hupt("restart", limit, "--keep-addresses"); code != 0 || strings.Contains(out, "let go") {
				t.Errorf("the next one: exit code %d\n%s", code, out)
			}
		})
		t.Run(name+"/some", func(t *testing.T) {
			t.Parallel()
			i, s, ports := begin(t)
			s.ports("", ports[0], ports[2])
			events := i.restartEvents(limit)
			last := events[len(events)-1]
			if last.Kind != supervisor.EventConfirmed || !slices.Equal(last.LetGo, []string{tcp4(ports[1])}) {
				t.Errorf("%+v", last)
			}
			for _, g := range i.status().Generations {
				if g.State == "serving" && !slices.Equal(g.LetGo, []string{tcp4(ports[1])}) {
					t.Errorf("%+v", g)
				}
			}
			if i.says("it let go of "+tcp4(ports[1])) == 0 {
				t.Error("hupt run does not say it")
			}
		})
		t.Run(name+"/keep", func(t *testing.T) {
			t.Parallel()
			i, s, ports := begin(t, "--keep-addresses")
			s.ports("", ports[1], ports[2])
			out, code := i.hupt("restart", limit)
			if code != 1 || !strings.Contains(out, "it did not take over "+tcp4(ports[0])+" (--keep-addresses)") {
				t.Errorf("exit code %d\n%s", code, out)
			}
		})
	}
	// What is the program's own is missed by nobody.
	t.Run("private", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("python-http1.1"))
		port := freePort(t)
		all := []any{port, 0, "{pid}.sock", "{tmp}/sock"}
		s.ports("", all...)
		i := launchAt(t, s.dir, launch{flags: []string{"--keep-addresses"}, argv: s.argv(), env: s.env()})
		await(t, "it serves", func() bool { return i.says("serves after") == 1 })
		for range 2 {
			events := i.restartEvents(limit)
			if last := events[len(events)-1]; last.Kind != supervisor.EventConfirmed || len(last.LetGo) > 0 {
				t.Errorf("%+v", last)
			}
		}
		if !connects(port) {
			t.Error("it does not serve")
		}
		s.ports("", port)
		events := i.restartEvents(limit)
		if last := events[len(events)-1]; last.Kind != supervisor.EventConfirmed || len(last.LetGo) > 0 {
			t.Errorf("%+v", last)
		}
	})
	// A program that has nothing else is not held to it.
	t.Run("only private", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, named("python-http1.1"))
		s.ports("", "{pid}.sock")
		i := launchAt(t, s.dir, launch{argv: s.argv(), env: s.env()})
		await(t, "it serves", func() bool { return i.says("serves after") == 1 })
		i.restart(limit)
	})
	t.Run("both", func(t *testing.T) {
		t.Parallel()
		i := launchAt(t, t.TempDir(), launch{argv: []string{"/bin/sleep", "1000"}})
		await(t, "it runs", func() bool { return len(i.programs()) == 1 })
		if out, code := i.hupt("restart", "--may-move", "--keep-addresses"); code != 2 || strings.Count(out, "\n") != 1 {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
}

// TestMovesByWord: a version that says that it is ready before it has anything is
// waited for; one that never has, is not.
func TestMovesByWord(t *testing.T) {
	t.Parallel()
	const says = `
def ready():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect('\0' + os.environ['NOTIFY_SOCKET'][1:])
    s.send(b'READY=1')
ready()
import time
`
	s := newSite(t, named("python-http1.1"))
	port, other := freePort(t), freePort(t)
	s.ports(says, port)
	i := launchAt(t, s.dir, launch{flags: []string{"--ready=notify"}, argv: s.argv(), env: s.env()})
	await(t, "it serves", func() bool { return i.says("serves after") == 1 && connects(port) })
	s.ports(says+"time.sleep(2)", port)
	events := i.restartEvents()
	if ready := eventOf(events, supervisor.EventReady); ready.After < 2 {
		t.Errorf("ready after %v s, when it had nothing", ready.After)
	}
	for what, at := range map[string][]any{"nothing": nil, "elsewhere": {other}} {
		s.ports(says+"time.sleep(1)", at...)
		if out, code := i.hupt("restart", "--timeout=3s"); code != 1 || !strings.Contains(out, "it took over none of the addresses") {
			t.Errorf("%s: exit code %d\n%s", what, code, out)
		}
		if !connects(port) {
			t.Errorf("%s: the old version does not serve", what)
		}
	}
}
