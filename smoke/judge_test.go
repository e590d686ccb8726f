package smoke

import (
	"strings"
	"testing"
	"time"

	"hupt/load"
)

// fine are the measurements of a good server, which each test spoils.
func fine() *Measured {
	ms := time.Millisecond
	lat := load.LatencyOf(manyOf(1*ms, 200))
	res := load.Result{Requests: 1000, ByClass: map[load.Class]int64{}, Latency: lat, Elapsed: 4 * time.Second}
	return &Measured{
		ReadyAfter: 100 * ms, LoadFrom: 200 * ms, LoadTo: 4200 * ms, Asked: 2, Complete: true,
		Targets: []Target{{Socket: Socket{"tcp4", "127.0.0.1:8080", 17}, Speaks: HTTP, inodes: []uint64{17}}},
		Load:    res, ByKind: map[string]load.Result{"per-connection": res},
		Before: lat, During: lat, Between: lat,
		Restarts: []Restart{
			{Number: 1, At: 1200 * ms, Generation: 2, PID: 102, Ready: 30 * ms, Serving: 40 * ms, Gone: 300 * ms, OK: true, Witnesses: 3},
			{Number: 2, At: 1700 * ms, Generation: 3, PID: 103, Ready: 30 * ms, Serving: 41 * ms, Gone: 310 * ms, OK: true, Witnesses: 3},
		},
		Generations: []Generation{{Number: 1, PID: 101, From: 100 * ms}, {Number: 2, PID: 102, From: 1240 * ms}, {Number: 3, PID: 103, From: 1741 * ms}},
		Spans:       []Span{{1, "starting", 1200 * ms, 1240 * ms}, {1, "draining", 1240 * ms, 1500 * ms}},
		Idle:        Resources{1, 9, 10 << 20, true}, IdleLast: Resources{1, 10, 11 << 20, true},
		Stop: Stop{Sent: true, After: 20 * ms, ExitCode: 143},
	}
}

func manyOf(d time.Duration, n int) []time.Duration {
	list := make([]time.Duration, n)
	for i := range list {
		list[i] = d
	}
	return list
}

func lost(m *Measured, c load.Class, n int64) {
	m.Load.ByClass[c] += n
	m.Load.Failures += n
	m.Load.First = append(m.Load.First, load.Failure{At: 1100 * time.Millisecond, Kind: "keep-alive", Class: c, Step: "read", Phase: "restart 1: draining", Text: "it broke"})
}

func TestJudge(t *testing.T) {
	ms := time.Millisecond
	for name, tt := range map[string]struct {
		spoil  func(m *Measured, l *Limits)
		want   map[string]Status // all others pass or are not there
		figure string            // of one of them
	}{
		"fine":       {func(*Measured, *Limits) {}, nil, ""},
		"slow start": {func(m *Measured, l *Limits) { m.ReadyAfter = 20 * time.Second }, map[string]Status{"ready": Fail}, "after 20.0 s, limit 10.0 s"},
		"refused":    {func(m *Measured, l *Limits) { lost(m, load.ClassRefused, 3) }, map[string]Status{"refused": Fail}, "3 of 1000, refused 3"},
		"reset":      {func(m *Measured, l *Limits) { lost(m, load.ClassReset, 1) }, map[string]Status{"lost": Fail}, "reset 1"},
		"closed":     {func(m *Measured, l *Limits) { lost(m, load.ClassClosed, 1) }, map[string]Status{"lost": Fail}, "closed 1"},
		"short":      {func(m *Measured, l *Limits) { lost(m, load.ClassShort, 1) }, map[string]Status{"lost": Fail}, "short 1"},
		"timeout":    {func(m *Measured, l *Limits) { lost(m, load.ClassTimeout, 1) }, map[string]Status{"lost": Fail}, "timeout 1"},
		"status":     {func(m *Measured, l *Limits) { lost(m, load.ClassStatus, 9) }, map[string]Status{"answers": Fail}, "9 of 1000"},
		"body":       {func(m *Measured, l *Limits) { lost(m, load.ClassBody, 9) }, map[string]Status{"answers": Fail}, "body 9"},
		"allowed":    {func(m *Measured, l *Limits) { lost(m, load.ClassReset, 2); l.MaxFailures = 2 }, nil, ""},
		"not allowed": {func(m *Measured, l *Limits) {
			lost(m, load.ClassReset, 2)
			lost(m, load.ClassBody, 1)
			l.MaxFailures = 2
		}, map[string]Status{"lost": Fail, "answers": Fail}, ""},
		"unsent, busy":  {func(m *Measured, l *Limits) { m.Load.Unsent, m.Machine.P99 = 4, busyMachine+1 }, map[string]Status{"sent": Note}, "too busy to tell"},
		"unsent":        {func(m *Measured, l *Limits) { m.Load.Unsent = 4 }, map[string]Status{"sent": Fail}, "4 requests never sent"},
		"slow a moment": {func(m *Measured, l *Limits) { m.Between = load.LatencyOf(append(manyOf(60*ms, 20), manyOf(ms, 15)...)) }, nil, ""},
		"slow after":    {func(m *Measured, l *Limits) { m.Between = load.LatencyOf(manyOf(60*ms, 100)) }, map[string]Status{"latency": Fail}, ""},
		"stands still":  {func(m *Measured, l *Limits) { m.During = load.LatencyOf(append(manyOf(ms, 50), manyOf(900*ms, 5)...)) }, map[string]Status{"latency": Fail}, ""},
		"busy machine": {func(m *Measured, l *Limits) {
			m.Between, m.Machine = load.LatencyOf(manyOf(300*ms, 100)), load.LatencyOf(append(manyOf(0, 90), manyOf(30*ms, 10)...))
		}, map[string]Status{"latency": Note}, ""},
		"busy for a moment": {func(m *Measured, l *Limits) {
			m.Between, m.machineBetween = load.LatencyOf(manyOf(300*ms, 100)), load.LatencyOf(append(manyOf(0, 90), manyOf(30*ms, 10)...))
		}, map[string]Status{"latency": Note}, ""},
		"two outliers": {func(m *Measured, l *Limits) {
			m.Between = load.LatencyOf(append(manyOf(ms, 50), manyOf(1100*ms, 2)...))
		}, nil, ""},
		"a bit slower":   {func(m *Measured, l *Limits) { m.During = load.LatencyOf(manyOf(20*ms, 100)) }, nil, ""},
		"max-p99":        {func(m *Measured, l *Limits) { l.MaxP99 = 500 * time.Microsecond }, map[string]Status{"max-p99": Fail}, "1.00 ms, limit 0.50 ms"},
		"max-latency":    {func(m *Measured, l *Limits) { l.MaxLatency = 500 * time.Microsecond }, map[string]Status{"max-latency": Fail}, ""},
		"limits kept":    {func(m *Measured, l *Limits) { l.MaxLatency, l.MaxP99 = time.Second, time.Second }, nil, ""},
		"failed restart": {func(m *Measured, l *Limits) { m.Restarts[1].OK, m.Restarts[1].Reason = false, "exited" }, map[string]Status{"restarts": Fail}, "1 of 2"},
		"too few":        {func(m *Measured, l *Limits) { m.Asked = 5 }, map[string]Status{"restarts": Note}, "2 of 5"},
		"socket lost":    {func(m *Measured, l *Limits) { m.Restarts[0].Lost = []string{"tcp4 127.0.0.1:8080"} }, map[string]Status{"sockets": Fail}, "1 socket"},
		"old one serves": {func(m *Measured, l *Limits) { m.Restarts[0].ByOther = 2 }, map[string]Status{"served-by-new": Fail}, "1 restart went elsewhere"},
		"no witness": {func(m *Measured, l *Limits) { m.Restarts[0].Witnesses, m.Restarts[1].Witnesses = 0, 0 },
			map[string]Status{"served-by-new": Skip}, ""},
		"wrong version": {func(m *Measured, l *Limits) { m.Restarts[0].Expected, m.Restarts[0].Program = "/v2", "/v1" }, map[string]Status{"upgrade": Fail}, ""},
		"cut":           {func(m *Measured, l *Limits) { m.Restarts[0].Cut, m.Restarts[0].Hammered = 3, true }, map[string]Status{"cut": Fail}, "3 connections cut in 1 restart"},
		"old there":     {func(m *Measured, l *Limits) { m.Restarts[0].Gone = 0 }, map[string]Status{"old-gone": Fail}, "1 of 2"},
		"orphan":        {func(m *Measured, l *Limits) { m.Left = []Process{{PID: 5, Name: "x"}} }, map[string]Status{"orphans": Fail}, "1 process"},
		"outlived":      {func(m *Measured, l *Limits) { m.Generations[0].Outlived = []Process{{PID: 5, Name: "x"}} }, map[string]Status{"orphans": Fail}, ""},
		"fds":           {func(m *Measured, l *Limits) { m.IdleLast.FDs = 300 }, map[string]Status{"fds": Fail}, "300 idle after the load, 9 at first"},
		"a few fds":     {func(m *Measured, l *Limits) { m.IdleLast.FDs = 30 }, nil, ""},
		"unreadable":    {func(m *Measured, l *Limits) { m.Idle.OK = false }, map[string]Status{"fds": Skip, "memory": Skip}, ""},
		"memory":        {func(m *Measured, l *Limits) { m.IdleLast.RSS = 200 << 20 }, map[string]Status{"memory": Fail}, "200.0 MiB"},
		"connections":   {func(m *Measured, l *Limits) { m.ConnectionsLeft = 2 }, map[string]Status{"connections": Fail}, "2 after"},
		"killed at end": {func(m *Measured, l *Limits) { m.Stop.Killed = true }, map[string]Status{"stop": Fail}, ""},
		"killed before": {func(m *Measured, l *Limits) { m.Generations[1].Killed = true }, map[string]Status{"stop": Fail}, ""},
		"never stops":   {func(m *Measured, l *Limits) { m.Stop.TimedOut = true }, map[string]Status{"stop": Fail}, ""},
		"stops late":    {func(m *Measured, l *Limits) { m.Stop.After = 4 * time.Second }, map[string]Status{"stop": Fail}, "after 4.00 s, limit 3.00 s"},
		"v6 only":       {func(m *Measured, l *Limits) { m.Targets[0].Network, m.Targets[0].Address = "tcp6", "[::1]:80" }, map[string]Status{"ipv4": Note}, ""},
		"both":          {func(m *Measured, l *Limits) { m.Targets[0].Network, m.Targets[0].Dual = "tcp6", true }, nil, ""},
		"late socket":   {func(m *Measured, l *Limits) { m.LateTargets = []Socket{{"tcp4", "127.0.0.1:9", 3}} }, map[string]Status{"late": Note}, ""},
		"bad taken":     {func(m *Measured, l *Limits) { m.BadStart = &BadStart{} }, map[string]Status{"rollback": Fail}, ""},
		"bad noticed":   {func(m *Measured, l *Limits) { m.BadStart = &BadStart{RolledBack: true, Failures: 1, Recovered: true} }, map[string]Status{"rollback": Fail}, "1 failed request"},
		"not recovered": {func(m *Measured, l *Limits) { m.BadStart = &BadStart{RolledBack: true, After: "busy"} }, map[string]Status{"rollback": Fail}, "busy"},
		"rolled back":   {func(m *Measured, l *Limits) { m.BadStart = &BadStart{RolledBack: true, Recovered: true} }, nil, ""},
		"own tests":     {func(m *Measured, l *Limits) { m.UserTests = &UserTests{ExitCode: 1} }, map[string]Status{"run": Fail}, "exit code 1"},
		"own tests ok":  {func(m *Measured, l *Limits) { m.UserTests = &UserTests{} }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, l := fine(), Limits{ReadyWithin: 10 * time.Second, StopWithin: 3 * time.Second}
			tt.spoil(m, &l)
			figures := ""
			seen := map[string]bool{}
			for _, c := range Judge(m, l) {
				seen[c.Name] = true
				want := tt.want[c.Name]
				if want == "" {
					want = Pass
				} else {
					figures += c.Figure
				}
				if c.Status != want {
					t.Errorf("%s: %s (%s), want %s", c.Name, c.Status, c.Figure, want)
				}
			}
			for n := range tt.want {
				if !seen[n] {
					t.Errorf("no check %s", n)
				}
			}
			if !strings.Contains(figures, tt.figure) {
				t.Errorf("figure %q, want %q", figures, tt.figure)
			}
		})
	}
}

// A run that ended early must not have passed what it could not see.
func TestJudgeNothing(t *testing.T) {
	for _, c := range Judge(&Measured{}, Limits{ReadyWithin: time.Second, StopWithin: time.Second}) {
		if c.Status == Pass {
			t.Errorf("%s passed (%s) with nothing measured", c.Name, c.Figure)
		}
	}
}

func TestSplit(t *testing.T) {
	ms := time.Millisecond
	at := func(end, took int) Sample {
		return Sample{At: time.Duration(end) * ms, Latency: time.Duration(took) * ms}
	}
	spans := []Span{{1, "starting", 1000 * ms, 1100 * ms}}
	before, during, between := split([]Sample{
		at(500, 1), at(999, 2), // before
		at(1050, 3), at(1300, 250), // in it; begun in it
		at(1200, 5), at(1500, 6), at(1600, 7), // after
		{At: 700 * ms, Latency: 9 * ms, Kind: load.Slow},
		{At: 700 * ms, Latency: 9 * ms, Class: load.ClassReset},
	}, spans, 1000*ms)
	if before.Count != 2 || during.Count != 2 || between.Count != 3 {
		t.Errorf("%d %d %d", before.Count, during.Count, between.Count)
	}
}
