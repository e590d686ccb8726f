package smoke

import (
	"bytes"
	"context"
	"fmt"
	"regexp"

	"hupt/load"
)

// volatile is what may differ between two right answers: words with a digit in
// them, such as pids, times, counters, addresses and hashes.
var volatile = regexp.MustCompile(`[0-9A-Za-z]*[0-9][0-9A-Za-z]*`)

// shape is an answer without what may differ.
func shape(body []byte) []byte { return volatile.ReplaceAll(body, []byte("#")) }

// lesson is what the first answers of a target taught: what a right one is.
type lesson struct {
	status int
	body   []byte // the shape of a right answer; nil if even the first ones differ
	exact  []byte // the first one's body
}

// learn asks a target a few times, one after the other, and returns what its
// answers have in common. Its error is a failure to answer.
func learn(ctx context.Context, o load.Options) (lesson, error) {
	var status []int
	var bodies [][]byte
	o.Clients, o.Requests, o.Rate, o.Duration, o.Kind = 1, 3, 0, 0, load.PerConnection
	o.Status, o.Observe = 0, nil
	o.Check = func(s int, body []byte) error { // one client: no two at once
		status = append(status, s)
		bodies = append(bodies, bytes.Clone(body))
		return nil
	}
	run, err := load.Start(ctx, o)
	if err != nil {
		return lesson{}, err
	}
	res := run.Wait()
	if res.Failures > 0 {
		f := res.First[0]
		return lesson{}, fmt.Errorf("%s: %s", f.Step, f.Text)
	}
	if len(status) == 0 {
		return lesson{}, ctx.Err()
	}
	l := lesson{status: status[0], body: shape(bodies[0]), exact: bodies[0]}
	for i := range bodies {
		if status[i] != l.status {
			return l, fmt.Errorf("it answers with status %d, then %d", l.status, status[i])
		}
		if l.body != nil && !bytes.Equal(shape(bodies[i]), l.body) {
			l.body = nil
		}
	}
	return l, nil
}

// judge sets how load judges answers: by what was asked for, or else by what
// was learned.
func (l lesson) judge(to *load.Options, o *Options) {
	to.Status = l.status
	if o.ExpectStatus != 0 {
		to.Status = o.ExpectStatus
	}
	to.Check = func(_ int, body []byte) error {
		if o.ExpectBody != nil {
			if !o.ExpectBody.Match(body) {
				return fmt.Errorf("body %q does not match %s", clip(printable(string(body)), 60), o.ExpectBody)
			}
			return nil
		}
		if o.Upgrade == "" && l.body != nil && !bytes.Equal(body, l.exact) && !bytes.Equal(shape(body), l.body) {
			return fmt.Errorf("body %q is not like the first, %q; --expect-body says what is right",
				clip(printable(string(body)), 60), clip(printable(string(l.exact)), 60))
		}
		return nil
	}
}
