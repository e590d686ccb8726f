package smoke

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Real servers, as their first page of documentation has them. @PORT@ and
// @DIR@ are filled in.
var goodServers = map[string]struct {
	command string
	files   map[string]string
}{
	"nginx": {"nginx -p @DIR@ -c @DIR@/nginx.conf", map[string]string{"nginx.conf": `daemon off;
worker_processes 2;
pid @DIR@/nginx.pid;
error_log @DIR@/error.log warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path @DIR@/a; proxy_temp_path @DIR@/b; fastcgi_temp_path @DIR@/c; uwsgi_temp_path @DIR@/d; scgi_temp_path @DIR@/e;
	server { listen 127.0.0.1:@PORT@; location / { return 200 "hello from $pid\n"; } }
}
`}},
	"haproxy": {"haproxy -f @DIR@/haproxy.cfg", map[string]string{"haproxy.cfg": `defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
frontend front
	bind 127.0.0.1:@PORT@
	http-request return status 200 content-type text/plain lf-string "hello from %pid\n"
`}},
	"node": {"node @DIR@/server.js @PORT@", map[string]string{"server.js": `require('http').createServer((req, res) => {
  res.end('hello from ' + process.pid + '\n')
}).listen(Number(process.argv[2]), '127.0.0.1')
`}},
	"redis":  {"redis-server --bind 127.0.0.1 --port @PORT@ --save  --dir @DIR@", nil},
	"static": {"@ZOO@ good 127.0.0.1:@PORT@ @DIR@", nil},
}

// No check fails on a server that is good.
func TestGoodServers(t *testing.T) {
	for name, s := range goodServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := zoo(t, "good", "")
			dir := o.Command[3]
			_, port, _ := strings.Cut(o.Command[2], ":")
			fill := strings.NewReplacer("@PORT@", port, "@DIR@", dir, "@ZOO@", o.Command[0])
			for file, text := range s.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(fill.Replace(text)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			o.Command = strings.Split(fill.Replace(s.command), " ")
			if _, err := exec.LookPath(o.Command[0]); err != nil {
				t.Skip(err)
			}
			o.BadStart, o.Restarts = true, 3
			r := run(t, o)
			if r.Outcome != Passed {
				t.Errorf("%v: %s", r.Outcome, r.Reason)
			}
			for _, c := range r.Failures() {
				t.Errorf("%s: %s", c.Name, c.Figure)
			}
		})
	}
}
