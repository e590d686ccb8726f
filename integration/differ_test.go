package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hupt/supervisor"
)

// differGroup is how many sequences one program makes, each in a process of its own.
const differGroup = 10

// openKinds are kinds of steps that are left out in all roles until a fault is mended.
var openKinds = []struct{ name, reason string }{
	{"held-polled", "open, held: what hupt has a duplicate of stays in an epoll set when the program closes it, and tells of events there"},
	{"listen-again", "open, draining: listen() on a socket that was bound beside a listener that was closed since gives EADDRINUSE, as hupt holds that"},
	{"shut-stand-ins", "open, stand-ins: after a shutdown(), poll() gives POLLIN for those of AF_UNIX, not for TCP"},
	{"old-paths", "open, Unix: a path that a draining version unlinks is still there for itself, though nobody else has the socket"},
}

// openFaults are what is known to differ and is to be mended: lines that are not compared,
// of some roles. Each goes when its fault does.
var openFaults = []struct {
	role   string // empty: all
	line   string // a regular expression
	reason string
}{
	{"", `^[A-E] \d+ (child )?getsockopt \d+(\(\w+\))? SO_PEERCRED`, "open, Unix listeners: it is of whoever called listen() last, in a stand-in of hupt's child"},
	{"draining", `^E \d+ (child )?datagram \d+\(late\)`, "open, datagrams: a duplicate that is made after the quiesce answers as the stand-in"},
}

// differSeeds is how many sequences TestDiffer makes: HUPT_DIFFER, or some.
func differSeeds() int {
	if n, err := strconv.Atoi(os.Getenv("HUPT_DIFFER")); err == nil {
		return n
	}
	return max(4*differGroup, min(40*differGroup, scale(8000)))
}

// TestDiffer: a program that makes random sequences of calls from a seed (testdata/c/differ.c)
// finds line by line what it finds bare, in the first generation, in the second, in one
// that drains, and after a rollback. HUPT_SEED=n is the first seed (always the same
// ones, otherwise: this is not where to look for new faults), HUPT_DIFFER how many, HUPT_STEPS how long each
// part of a sequence is; HUPT_LOGS=dir keeps what both wrote down, HUPT_WITHOUT=kinds leaves steps out.
func TestDiffer(t *testing.T) {
	t.Parallel()
	first, err := strconv.ParseUint(os.Getenv("HUPT_SEED"), 10, 64)
	if err != nil {
		first = 1
	}
	for n := 0; n < differSeeds(); n += differGroup {
		seed, count := first+uint64(n), min(differGroup, differSeeds()-n)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			newDiffer(t, seed, count).run()
		})
	}
}

// differ is the sequences of one program.
type differ struct {
	t     *testing.T
	seed  uint64
	count int
	steps int
}

func newDiffer(t *testing.T, seed uint64, count int) *differ {
	d := &differ{t: t, seed: seed, count: count, steps: 60}
	if n, err := strconv.Atoi(os.Getenv("HUPT_STEPS")); err == nil {
		d.steps = n
	}
	return d
}

// site is where a program of these sequences lives.
func (d *differ) site() *site {
	s := newSite(d.t, &victim{name: "differ", program: "differ", tag: bodyTag, check: checkBody})
	wide, own := freePort(d.t), [3]int{freePort(d.t), freePort(d.t), freePort(d.t)}
	s.v.argv = func(s *site) []string {
		return []string{s.program(), fmt.Sprint("port=", s.port), fmt.Sprint("wide=", wide), fmt.Sprint("own1=", own[0]),
			fmt.Sprint("own2=", own[1]), fmt.Sprint("own3=", own[2]), "dir=" + s.dir, fmt.Sprint("seed=", d.seed),
			fmt.Sprint("count=", d.count), fmt.Sprint("steps=", d.steps), "without=" + without()}
	}
	s.deploy("v1")
	return s
}

func (d *differ) run() {
	// What it gives bare: once with what follows while it serves, once with what
	// follows while it may be drained.
	whole, drained := d.bare('D'), d.bare('E')
	s := d.site()
	i := launchAt(d.t, s.dir, launch{flags: []string{"--drain", "tcp", "--drain-timeout", "never"}, argv: s.argv()})
	one := d.speaks(s)
	one.does('C')
	d.compare("generation 1", drained, d.logs(s, "v1"))
	s.deploy("v2")
	i.restart()
	one.does('E')
	d.compare("draining", drained, d.logs(s, "v1"))
	two := d.speaks(s)
	two.does('C')
	d.compare("generation 2", whole, d.logs(s, "v2"))
	d.fails(s, i)
	// Until it has gone, hupt holds the sockets: see TestBoundAgainInRestart.
	await(d.t, "the version that failed has gone", func() bool {
		return !slices.ContainsFunc(i.status().Generations, func(g supervisor.GenerationStatus) bool { return g.Number == 3 })
	})
	two.does('D')
	d.compare("after a rollback", whole, d.logs(s, "v2"))
}

// fails has a version fail, in one of the ways there are.
func (d *differ) fails(s *site, i *instance) {
	d.t.Helper()
	how := []string{"bad:bound", "bad:served", "bad:listens", "bad:later"}[d.seed/differGroup%4]
	s.deploy(how)
	if how != "bad:later" {
		if out, code := i.hupt("restart"); code == 0 {
			d.t.Errorf("%s is let in:\n%s", how, out)
		}
		return
	}
	i.hupt("restart", "--no-wait")
	await(d.t, "a bad version serves", func() bool { return i.serving().Number == 3 })
	unix.Kill(i.serving().PID, unix.SIGKILL)
	await(d.t, "the one before serves again", func() bool { return i.says("accepts connections again") > 0 })
}

// bare is what the sequences give without hupt.
func (d *differ) bare(last byte) []string {
	s := d.site()
	i := launchAt(d.t, s.dir, launch{bare: true, argv: s.argv()})
	p := d.speaks(s)
	p.does('C')
	p.does(last)
	i.signal(unix.SIGTERM)
	logs := d.logs(s, "v1")
	for n, log := range logs {
		if !strings.HasSuffix(log, string(last)+" end\n") {
			d.t.Fatalf("seed %d ends before it is through", d.seed+uint64(n))
		}
	}
	return logs
}

// differing is a connection to a program of sequences.
type differing struct {
	d *differ
	c net.Conn
}

func (d *differ) speaks(s *site) *differing {
	d.t.Helper()
	var c net.Conn
	await(d.t, "it listens", func() bool {
		var err error
		c, err = net.Dial("tcp", s.address())
		return err == nil
	})
	d.t.Cleanup(func() { c.Close() })
	return &differing{d, c}
}

// does has all sequences make one of their parts.
func (p *differing) does(part byte) {
	p.d.t.Helper()
	p.c.SetDeadline(time.Now().Add(patience))
	b := []byte{part}
	_, err := p.c.Write(b)
	if err == nil {
		_, err = io.ReadFull(p.c, b)
	}
	if err != nil {
		p.d.t.Fatalf("seed %d, part %c: %v", p.d.seed, part, err)
	}
}

// logs are what the sequences of a version have written down so far.
func (d *differ) logs(s *site, version string) (logs []string) {
	d.t.Helper()
	for n := range d.count {
		b, err := os.ReadFile(filepath.Join(s.dir, fmt.Sprintf("log-%s-%d", version, n)))
		if err != nil {
			d.t.Fatal(err)
		}
		logs = append(logs, string(b))
	}
	return logs
}

// compare tells of the first line in which a sequence's log, as far as it goes, is not that of
// the same one bare.
func (d *differ) compare(role string, want, have []string) {
	d.t.Helper()
	if dir := os.Getenv("HUPT_LOGS"); dir != "" {
		for n := range have {
			name := filepath.Join(dir, fmt.Sprintf("%d-%s", d.seed+uint64(n), strings.ReplaceAll(role, " ", "-")))
			os.WriteFile(name+".bare", []byte(want[n]), 0o644)
			os.WriteFile(name+".hupt", []byte(have[n]), 0o644)
		}
	}
	for n := range have {
		w, h := strings.Split(want[n], "\n"), strings.Split(have[n], "\n")
		for k, line := range h {
			if line == "" && k == len(h)-1 || k < len(w) && w[k] == line || isOpen(role, line) && k < len(w) && isOpen(role, w[k]) {
				continue
			}
			seed := d.seed + uint64(n)
			near := func(all []string) string {
				return strings.Join(all[min(len(all), max(0, k-5)):min(len(all), k+6)], "\n")
			}
			d.t.Errorf("seed %d (%d of those from %d), %s:\nbare\n%s\nhupt\n%s\nalone: HUPT_SEED=%d HUPT_DIFFER=1; with the others: HUPT_SEED=%d HUPT_DIFFER=%d",
				seed, n, d.seed, role, near(w), near(h), seed, d.seed, d.count)
			break
		}
	}
}

// isOpen tells whether a line is of a known fault.
func isOpen(role, line string) bool {
	for _, o := range openFaults {
		if (o.role == "" || o.role == role) && regexp.MustCompile(o.line).MatchString(line) {
			return true
		}
	}
	return false
}

func without() string {
	var names []string
	for _, k := range openKinds {
		names = append(names, k.name)
	}
	return strings.Join(append(names, os.Getenv("HUPT_WITHOUT")), ",")
}
