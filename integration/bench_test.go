package integration

import (
	"testing"
	"time"

	"hupt/load"
)

// BenchmarkOverhead compares a server under hupt with the same one bare. The
// two take turns within one run, so that a noisy machine is noisy for both;
// what counts is the ratio: 1 is no difference, less is slower under hupt.
//
//	go test ./integration -run '^$' -bench Overhead -benchtime 20x
func BenchmarkOverhead(b *testing.B) {
	for _, c := range []struct {
		victim string
		kind   load.Kind
		each   int
	}{
		{"go", load.KeepAlive, 5000},
		{"go", load.PerConnection, 2000},
		{"c-threads", load.PerConnection, 2000},
		{"nginx", load.PerConnection, 2000},
		{"node", load.PerConnection, 1000},
		{"c-thread-per-request", load.PerConnection, 1000}, // a clone for each
		{"c-fork-per-connection", load.PerConnection, 500}, // a fork for each: the worst that there is
	} {
		b.Run(c.victim+"/"+c.kind.String(), func(b *testing.B) {
			bare := newSite(b, named(c.victim))
			launchAt(b, bare.dir, launch{bare: true, argv: bare.argv(), env: bare.env()})
			bare.awaitAnswer()
			under := newSite(b, named(c.victim))
			start(under)
			turn := func(s *site) time.Duration {
				o := withRequests(s.load(), c.each)
				o.Kind = c.kind
				began := time.Now()
				r := begin(b, o).Wait()
				if r.Failures > 0 {
					b.Fatalf("%d of %d requests failed", r.Failures, r.Requests)
				}
				return time.Since(began)
			}
			turn(bare)
			turn(under)
			var bareTime, underTime time.Duration
			for b.Loop() {
				bareTime += turn(bare)
				underTime += turn(under)
			}
			n := float64(b.N * c.each)
			b.ReportMetric(n/bareTime.Seconds(), "bare-requests/s")
			b.ReportMetric(n/underTime.Seconds(), "hupt-requests/s")
			b.ReportMetric(bareTime.Seconds()/underTime.Seconds(), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}
