package integration

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"

	"hupt/load"
)

// victim is a server that knows nothing of hupt.
type victim struct {
	name     string
	program  string // compiled: its version is baked in
	template string // or a script or configuration of testdata
	argv     func(*site) []string
	proxy    bool // slow only by way of a backend

	requests int    // in all, if not requestsPerServer
	fewer    string // why

	tag     func(body []byte) string
	check   func(status int, body []byte) error
	raw     *load.Raw
	slowRaw func(ms int) *load.Raw

	fleeting bool // who answers is a process that lives for one connection
}

func (v *victim) total() int {
	if v.requests > 0 {
		return scale(v.requests)
	}
	return scale(requestsPerServer)
}

// The servers that the restarts are proven on.
var victims = []*victim{
	{name: "go", program: "gohttp", argv: func(s *site) []string {
		return []string{s.program(), "-addr", s.address()}
	}},
	c("c-threads", "threads", "workers=16"),
	c("c-threads-dynamic", "threads-dynamic", "workers=16"),
	c("c-thread-per-request", "thread_per_request"),
	c("c-select", "loop", "model=select"),
	c("c-poll", "loop", "model=poll"),
	c("c-epoll-level", "loop", "model=epoll-lt"),
	c("c-epoll-edge", "loop", "model=epoll-et"),
	c("c-prefork", "prefork", "workers=16"),
	c("c-prefork-reuseport", "prefork", "workers=8", "reuseport=1"),
	slower(c("c-fork-per-connection", "forker"), 40_000, "a fork, an exit and a wait for each connection"),
	{name: "nginx", template: "conf/nginx.conf", proxy: true, argv: func(s *site) []string {
		return []string{s.executable("nginx"), "-p", s.dir, "-e", filepath.Join(s.dir, "error.log"), "-c", s.program()}
	}},
	{name: "haproxy", template: "conf/haproxy.cfg", proxy: true, argv: func(s *site) []string {
		return []string{s.executable("haproxy"), "-db", "-f", s.program()}
	}},
	{name: "redis", template: "conf/redis.conf", tag: redisTag,
		raw:     &load.Raw{Send: []byte("PING\r\nCONFIG GET dbfilename\r\nINFO server\r\n"), Expect: []byte("+PONG\r\n*2\r\n")},
		slowRaw: redisSlow,
		argv: func(s *site) []string {
			return []string{s.executable("redis-server"), s.program()}
		}},
	slower(&victim{name: "node", template: "node/server.js", argv: func(s *site) []string {
		return []string{s.executable("node"), s.program(), fmt.Sprint(s.port)}
	}}, 60_000, "one thread of JavaScript for all connections"),
	slower(py("python-http1.0", "py/threading_server.py", "HTTP/1.0"), 20_000, "http.server makes a thread for each connection under one lock"),
	slower(py("python-http1.1", "py/threading_server.py", "HTTP/1.1"), 20_000, "http.server makes a thread for each connection under one lock"),
	slower(py("python-select", "py/select_loop.py"), 50_000, "interpreted, one thread"),
}

// keepAlive is not among victims: those are asked once a connection, which it
// serves like any other.
var keepAlive = talkServer("keepalive")

// named returns the victim of that name.
func named(name string) *victim {
	for _, v := range append(victims, keepAlive) {
		if v.name == name {
			return v
		}
	}
	panic("no victim " + name)
}

func init() {
	for _, v := range append(victims, keepAlive) {
		if v.tag == nil {
			v.tag = bodyTag
			v.check = checkBody
		}
	}
}

func c(name, program string, args ...string) *victim {
	return &victim{name: name, program: program, argv: func(s *site) []string {
		if s.socket != "" {
			return append([]string{s.program(), "path=" + s.socket}, args...)
		}
		return append([]string{s.program(), "host=" + s.host, fmt.Sprintf("port=%d", s.port)}, args...)
	}, fleeting: program == "forker"}
}

func py(name, template string, args ...string) *victim {
	return &victim{name: name, template: template, argv: func(s *site) []string {
		return append([]string{s.executable("python3"), s.program(), fmt.Sprint(s.port)}, args...)
	}}
}

func slower(v *victim, requests int, why string) *victim {
	v.requests, v.fewer = requests, why
	return v
}

// tag is who answered.
type tag struct {
	pid     int
	version string
}

var (
	tagLine   = regexp.MustCompile(`^pid=(\d+) version=(\S+)\n?$`)
	redisPID  = regexp.MustCompile(`process_id:(\d+)`)
	redisFile = regexp.MustCompile(`dbfilename\r\n\$\d+\r\n(\S+)\r\n`)
)

func parseTag(text string) (tag, error) {
	m := tagLine.FindStringSubmatch(text)
	if m == nil {
		return tag{}, fmt.Errorf("%q is not pid=… version=…", text)
	}
	pid, err := strconv.Atoi(m[1])
	return tag{pid, m[2]}, err
}

// bodyTag is the answer itself: every server here says who it is.
func bodyTag(body []byte) string { return string(body) }

// checkBody refuses an answer that is right in form and wrong in content.
func checkBody(status int, body []byte) error {
	if status != 200 {
		return fmt.Errorf("status %d", status)
	}
	if !tagLine.Match(body) {
		return fmt.Errorf("%.60q is not pid=… version=…", body)
	}
	return nil
}

func redisTag(answer []byte) string {
	pid, file := redisPID.FindSubmatch(answer), redisFile.FindSubmatch(answer)
	if pid == nil || file == nil {
		return "" // the rest of the answer came in another packet
	}
	return fmt.Sprintf("pid=%s version=%s", pid[1], file[1])
}

// redisSlow waits in the server, as a client of a queue does: BLPOP on a list
// that stays empty answers nil after its time-out.
func redisSlow(ms int) *load.Raw {
	return &load.Raw{Send: []byte(fmt.Sprintf("BLPOP nothing %.3f\r\n", float64(ms)/1000)), Expect: []byte("*-1\r\n")}
}
