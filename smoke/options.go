package smoke

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// Options say what to run and what to ask of it. Command alone is enough.
type Options struct {
	Hupt    string   // path of the hupt binary; default: the one in PATH
	Command []string // the server and its arguments
	Dir     string   // where to run it; default: here
	Env     []string // added to the environment

	// What to ask. By default everything that the server listens on is asked
	// for what it seems to speak.
	URL          string         // ask this alone
	Method       string         // default GET
	Header       http.Header    //
	Body         []byte         //
	ExpectStatus int            // default: the one that it gave first
	ExpectBody   *regexp.Regexp // default: as at first, but for its numbers
	TCPSend      []byte         // speak this instead of HTTP, after which
	TCPExpect    []byte         // the answer must begin with this

	// The load.
	Rate     float64       // requests a second in all; default 200
	Clients  int           // connections at once in all; default 16
	Timeout  time.Duration // of one request; default 5 s
	Duration time.Duration // of the load, at least; default 4 s
	Settle   time.Duration // how long no new socket must appear before the load begins; default 200 ms

	// The restarts.
	Restarts     int           // default 5, or as many as fit into 8 s; -1: none
	Every        time.Duration // from one to the next, at least; default 500 ms
	ReadyTimeout time.Duration // for the first start and every other; default 10 s
	DrainTimeout time.Duration // default 5 s
	StopTimeout  time.Duration // from the stop signal to SIGKILL; default 3 s
	HuptFlags    []string      // more flags for hupt run
	Upgrade      string        // a second version: restart v1, v2, v1
	// BadStart has a version that fails started once. It is BadVersion if
	// given, else a program that exits with code 42 at once.
	BadStart   bool
	BadVersion string
	// UserTests is run with the addresses in its environment while restarts
	// go on: HUPT_SMOKE_URL, HUPT_SMOKE_ADDRESS, HUPT_SMOKE_ADDRESSES.
	UserTests   string
	TestTimeout time.Duration // of UserTests; default 10 min

	Limits Limits

	// Progress is told how it goes, several times a second and whenever
	// something happens. It is called by one goroutine at a time.
	Progress func(Progress)

	atMost time.Duration // for restarts that nobody asked for by number; 0: no bound
}

// Progress is how a run goes at one moment.
type Progress struct {
	At         time.Duration
	Doing      string // what it does now
	Event      string // something that just happened; "" if nothing did
	Requests   int64
	Failures   int64
	Rate       float64       // requests a second lately
	Slowest    time.Duration // the slowest request since the last Progress
	Generation int
	Restarts   int
	Asked      int
}

// Limits are the thresholds of the checks.
type Limits struct {
	MaxFailures int64         `json:"max_failures"`
	MaxP99      time.Duration `json:"max_p99_ns"`      // of all requests; 0: no limit
	MaxLatency  time.Duration `json:"max_latency_ns"`  // of the slowest request; 0: no limit
	ReadyWithin time.Duration `json:"ready_within_ns"` // 0: ReadyTimeout
	StopWithin  time.Duration `json:"stop_within_ns"`  // 0: StopTimeout
}

// ErrUsage is wrapped by errors that tell of wrong options.
var ErrUsage = errors.New("wrong usage")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUsage}, args...)...)
}

// withDefaults returns o complete, or what is wrong with it.
func (o Options) withDefaults() (Options, error) {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return o, usage("no server to run")
	}
	if o.Hupt == "" {
		path, err := exec.LookPath("hupt")
		if err != nil {
			return o, usage("hupt is not in PATH; install it, or give its path")
		}
		o.Hupt = path
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Timeout, 5*time.Second)
	def(&o.Duration, 4*time.Second)
	def(&o.Settle, 200*time.Millisecond)
	def(&o.Every, 500*time.Millisecond)
	def(&o.ReadyTimeout, 10*time.Second)
	def(&o.DrainTimeout, 5*time.Second)
	def(&o.StopTimeout, 3*time.Second)
	def(&o.TestTimeout, 10*time.Minute)
	def(&o.Limits.ReadyWithin, o.ReadyTimeout)
	def(&o.Limits.StopWithin, o.StopTimeout)
	for _, d := range []time.Duration{o.Timeout, o.Duration, o.Every, o.ReadyTimeout, o.StopTimeout, o.TestTimeout} {
		if d < 0 {
			return o, usage("a duration is negative: %v", d)
		}
	}
	if o.Rate == 0 {
		o.Rate = 200
	}
	if o.Clients == 0 {
		o.Clients = 16
	}
	if o.Rate < 1 || o.Clients < 4 {
		return o, usage("the load needs at least 1 request a second and 4 clients")
	}
	switch {
	case o.Restarts == 0:
		o.Restarts, o.atMost = 5, max(8*time.Second, o.Duration)
	case o.Restarts < 0:
		o.Restarts = 0
	}
	if o.Upgrade != "" && o.Restarts%2 == 1 {
		o.Restarts++ // so that it ends where it began
	}
	if o.Method == "" {
		o.Method = http.MethodGet
	}
	if o.BadVersion != "" {
		o.BadStart = true
	}
	if o.URL != "" {
		u, err := url.Parse(o.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return o, usage("--url %q is not like http://127.0.0.1:8080/path", o.URL)
		}
	}
	if len(o.TCPExpect) > 0 && len(o.TCPSend) == 0 && o.URL != "" {
		return o, usage("--url and --tcp-expect don't go together")
	}
	for _, path := range []string{o.Upgrade, o.BadVersion} {
		if path == "" {
			continue
		}
		if st, err := os.Stat(path); err != nil {
			return o, usage("%v", err)
		} else if st.IsDir() {
			return o, usage("%s is a directory", path)
		}
	}
	return o, nil
}

// shown returns the command as it is shown to people.
func shown(command []string) string {
	words := make([]string, len(command))
	for i, w := range command {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`*?[]{}()<>|&;#~") {
			w = fmt.Sprintf("%q", w)
		}
		words[i] = w
	}
	return strings.Join(words, " ")
}
