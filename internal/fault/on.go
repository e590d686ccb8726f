//go:build fault

package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Point is where something may go wrong under test.
func Point(name string) {
	for _, r := range rules {
		if r.point == name {
			r.apply()
		}
	}
}

type rule struct {
	point  string
	delay  time.Duration
	random bool
	path   string       // it panics if this exists
	mark   bool         // no: it makes that
	times  atomic.Int64 // that it still does
}

var rules = parse(os.Getenv("HUPT_FAULT"))

func parse(text string) (rules []*rule) {
	for _, word := range strings.Fields(text) {
		point, what, _ := strings.Cut(word, "=")
		r := &rule{point: point}
		if how, path, panics := strings.Cut(what, "?"); panics {
			n := int64(1)
			fmt.Sscanf(how, "panic*%d", &n)
			r.path, r.mark = path, how == "mark"
			r.times.Store(n)
		} else {
			what, r.random = strings.CutPrefix(what, "~")
			var err error
			if r.delay, err = time.ParseDuration(what); err != nil {
				panic(fmt.Sprintf("HUPT_FAULT: %s: %v", word, err))
			}
		}
		rules = append(rules, r)
	}
	return rules
}

func (r *rule) apply() {
	switch {
	case r.mark:
		os.WriteFile(r.path, nil, 0o600)
		return
	case r.path != "":
		if _, err := os.Lstat(r.path); err == nil && r.times.Add(-1) >= 0 {
			panic("deliberate, at " + r.point)
		}
		return
	}
	d := r.delay
	if r.random && d > 0 {
		d = time.Duration(rand.Int64N(int64(d)))
	}
	time.Sleep(d)
}

// Hide is an environment without what says which faults there are to be: the program
// must not see that.
func Hide(environ []string) []string {
	return slices.DeleteFunc(environ, func(v string) bool { return strings.HasPrefix(v, "HUPT_FAULT=") })
}
