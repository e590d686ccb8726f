package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hupt/load"
)

// foreign is a server of the distribution that the other tests don't restart under load,
// each for something that it does with its listener.
type foreigner struct {
	name  string
	does  string
	modes []string // in which it says that it can
	flags func(s *site) []string
	make  func(t *testing.T) *site
}

var anyMode = []string{"--order=start-first", "--order=stop-first", "--exec"}

var foreigners = []foreigner{
	{"gunicorn", "asks its listener for its name at its end", anyMode, nil, gunicornSite},
	{"apache-prefork", "signals its process group at its end", anyMode, apachePidfile, apacheSite},
	{"lighttpd", "", anyMode, nil, func(t *testing.T) *site { return lighttpdSite(t, false) }},
	{"lighttpd-unix", "connects to its path before it binds that", anyMode, nil, func(t *testing.T) *site { return lighttpdSite(t, true) }},
	{"php-fpm", "has its listener as standard input of its children", anyMode, nil, func(t *testing.T) *site { return phpSite(t, false) }},
	{"php-fpm-unix", "connects to its path before it binds that", anyMode, nil, func(t *testing.T) *site { return phpSite(t, true) }},
	{"pgbouncer", "connects to its path before it binds that", anyMode[:2], nil, pgbouncerSite}, // started by setpriv, it can't be what the old one executes
	{"sshd", "executes itself for each connection", anyMode, nil, sshdSite},
}

// TestForeign: servers that hupt's authors did not write are restarted under load, in each
// mode: nothing is lost, every old version ends by itself, and none says what it would not
// say without hupt.
func TestForeign(t *testing.T) {
	t.Parallel()
	for _, f := range foreigners {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range f.modes {
				t.Run(mode, func(t *testing.T) {
					t.Parallel()
					s := f.make(t)
					usual := bareWords(t, s)
					flags := []string{mode}
					if f.flags != nil {
						flags = append(flags, f.flags(s)...)
					}
					i := start(s, flags...)
					run := begin(t, paced(s))
					restarts := max(2, scale(20))
					for n := range restarts {
						version := fmt.Sprintf("v%d", n+1)
						s.deploy(version)
						run.SetPhase(version)
						i.restart("--wait-drained")
						run.SetPhase("")
						if who, err := s.answer(); err != nil || who.version != version && who.version != "?" {
							t.Errorf("%v answers, not %s: %v", who, version, err)
						}
					}
					noneFailed(t, f.name, run.Stop())
					status := i.status()
					if status.Restarts != restarts || status.Rollbacks != 0 || status.Cut != 0 {
						t.Errorf("hupt counts %d restarts, %d rollbacks, %d connections cut", status.Restarts, status.Rollbacks, status.Cut)
					}
					if i.says("is killed") > 0 {
						t.Errorf("an old version did not end by itself\n%s", i.tail())
					}
					_, said, _ := strings.Cut(i.tail(), "\n") // after what runs
					for _, line := range words(said) {
						if !slices.Contains(usual, line) {
							t.Errorf("it says, and does not say bare: %s", line)
						}
					}
				})
			}
		})
	}
}

var changing = regexp.MustCompile(`0x[0-9a-f]+|[0-9]+`)

// words is the lines that a program wrote, without what is never the same.
func words(output string) (lines []string) {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "hupt: ") {
			lines = append(lines, changing.ReplaceAllString(line, "N"))
		}
	}
	return lines
}

// bareWords is what the site's server writes without hupt from its start to its end by
// SIGTERM, after it was asked.
func bareWords(t *testing.T, s *site) []string {
	t.Helper()
	i := launchAt(t, tempDir(t), launch{bare: true, argv: s.argv(), env: s.env(), dir: s.dir})
	s.awaitAnswer()
	i.signal(unix.SIGTERM)
	if !i.waitEnd(patience) {
		t.Fatalf("the bare server does not end\n%s", i.tail())
	}
	_, said, _ := strings.Cut(i.tail(), "\n")
	return words(said)
}

// foreignSite is one of a victim whose answers are pages of its own directory, by version.
func foreignSite(t *testing.T, v *victim) *site {
	t.Helper()
	if v.tag == nil {
		v.tag, v.check = bodyTag, checkBody
	}
	s := newSite(t, v)
	return s
}

// pages makes a directory for each version that the site is to have.
func (s *site) pages() {
	s.t.Helper()
	for n := range max(2, scale(20)) + 1 {
		dir := filepath.Join(s.dir, fmt.Sprintf("www-v%d", n))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			s.t.Fatal(err)
		}
		s.write(filepath.Join(dir, "index.html"), fmt.Sprintf("pid=1 version=v%d\n", n))
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { // who serves them may be another user
		s.t.Fatal(err)
	}
}

func (s *site) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func gunicornSite(t *testing.T) *site {
	s := foreignSite(t, &victim{name: "gunicorn", template: "py/wsgi.py", argv: func(s *site) []string {
		return []string{installed(s.t, "python3"), installed(s.t, "gunicorn"), "--workers=2", "--log-level=warning", "--worker-tmp-dir=" + s.dir,
			"--bind=" + s.address(), "--chdir=" + s.dir, "wsgi:app"}
	}})
	s.write(filepath.Join(s.dir, "wsgi.py"), `exec(open("current").read())`+"\n")
	return s
}

func apacheSite(t *testing.T) *site {
	s := foreignSite(t, &victim{name: "apache-prefork", template: "conf/apache.conf", argv: func(s *site) []string {
		return []string{installed(s.t, "apache2"), "-DFOREGROUND", "-f", s.program()}
	}})
	s.pages()
	return s
}

// apachePidfile: one that finds the pidfile of a living apache does not start.
func apachePidfile(s *site) []string {
	return []string{"--unlink=" + filepath.Join(s.dir, "apache.pid")}
}

func lighttpdSite(t *testing.T, local bool) *site {
	s := foreignSite(t, &victim{name: "lighttpd", template: "conf/lighttpd.conf", argv: func(s *site) []string {
		return []string{installed(s.t, "lighttpd"), "-D", "-f", s.program()}
	}})
	s.extra = map[string]string{"BIND": "127.0.0.1"}
	if local {
		s.socket = filepath.Join(s.dir, "socket")
		s.extra["BIND"] = s.socket
	}
	s.pages()
	s.deploy("v0")
	return s
}

// phpSite's server speaks FastCGI: nginx is its client, and the site's address.
func phpSite(t *testing.T, local bool) *site {
	s := foreignSite(t, &victim{name: "php-fpm", template: "conf/php-fpm.conf", argv: func(s *site) []string {
		argv := []string{installed(s.t, phpFPM), "-F", "-n", "-y", s.program()}
		if os.Getuid() == 0 {
			argv = append(argv, "-R") // its children are root's
		}
		return argv
	}})
	bind := s.address()
	upstream := bind
	if local {
		bind = filepath.Join(s.dir, "socket")
		upstream = "unix:" + bind
	}
	front := freePort(t)
	s.extra = map[string]string{"BIND": bind, "UPSTREAM": upstream, "FRONT": fmt.Sprint(front)}
	s.write(filepath.Join(s.dir, "index.php"), `<?php echo "pid=", getmypid(), " version=", getenv("VERSION"), "\n";`)
	s.write(filepath.Join(s.dir, "front.conf"), string(s.fill("conf/php-front.conf", "")))
	s.deploy("v0")
	nginx := exec.Command(installed(t, "nginx"), "-p", s.dir, "-e", filepath.Join(s.dir, "front.log"), "-c", filepath.Join(s.dir, "front.conf"))
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nginx.Process.Kill()
		nginx.Wait()
	})
	s.port = front
	return s
}

// phpFPM is Debian's name of it, by its version.
var phpFPM = func() string {
	found, _ := filepath.Glob("/usr/sbin/php-fpm*")
	if len(found) == 0 {
		return "php-fpm"
	}
	return filepath.Base(found[0])
}()

// pgbouncerSite is asked for a login, which it gives to everybody.
func pgbouncerSite(t *testing.T) *site {
	login := "\x00\x00\x00\x20\x00\x03\x00\x00user\x00x\x00database\x00pgbouncer\x00\x00"
	login = string([]byte{0, 0, 0, byte(len(login))}) + login[4:]
	s := foreignSite(t, &victim{name: "pgbouncer", template: "conf/pgbouncer.ini",
		raw: &load.Raw{Send: []byte(login), Expect: []byte("R\x00\x00\x00\x08\x00\x00\x00\x00")},
		tag: func([]byte) string { return "pid=1 version=?" },
		argv: func(s *site) []string {
			argv := []string{installed(s.t, "pgbouncer"), "-q", s.program()}
			if os.Getuid() == 0 { // which it refuses to be
				argv = append([]string{installed(s.t, "setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"}, argv...)
			}
			return argv
		}})
	if os.Getuid() == 0 {
		if err := os.Chown(s.dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func sshdSite(t *testing.T) *site {
	banner := regexp.MustCompile(`^SSH-2\.0-.* (\S+)\r`)
	s := foreignSite(t, &victim{name: "sshd", template: "conf/sshd_config",
		raw: &load.Raw{Expect: []byte("SSH-2.0-")},
		tag: func(answer []byte) string {
			if m := banner.FindSubmatch(answer); m != nil {
				return fmt.Sprintf("pid=1 version=%s", m[1])
			}
			return ""
		},
		argv: func(s *site) []string {
			return []string{installed(s.t, "sshd"), "-D", "-e", "-f", s.program()}
		}})
	if os.Getuid() == 0 { // its service makes that
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(installed(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(s.dir, "key")).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return s
}
