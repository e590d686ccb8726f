package generation

import (
	"strings"
	"testing"
	"time"
)

const (
	// stop-first, until the new one is launched.
	cleared = running + `
	begin 2 stop-first      => prepare 2
	prepared 2              => quiesce 1
	quiesced 1              => say quiesced 1, timer drain 1 1m0s, drain 1
	counted 1 2             => say draining 1 left=2
	counted 1 0             => say drained 1, say stopping 1, signal 1 stop, timer kill 1 10s
	exit 1 main last 143    => say gone 1, forget 1, launch 2`
	second = cleared + `
	launched 2 1            => say starting 2, timer ready 2 1m0s, timer settle 2 1s`
	executing1 = running + `
	begin 2 exec            => prepare 2
	prepared 2              => quiesce 1
	quiesced 1              => say quiesced 1, timer drain 1 1m0s, drain 1
	counted 1 0             => say drained 1, execute 2 in 1`
	executed1 = executing1 + `
	executed 2 in 1 1       => say gone 1, forget 1, say starting 2, timer ready 2 1m0s, timer settle 2 1s`
	serving2 = `
	progress 2 1/1/1/1      => say ready 2, settled 2, say serving 2, timer probation 2 500ms`
	again = `
	launched 3 1            => say starting 3, timer ready 3 1m0s, timer settle 3 1s`
	failed2 = cleared + `
	launch-failed 2 why     => launch 3 again=1` + again
	recovering = failed2 + `
	exit 3 main last 2      => forget 3, timer retry 0 1s, say retry 3 (it exited with status 2 after 0.00 s; it is tried again in 1.00 s), say failed 2 (why; the version before could not be started again either: connections wait, and it is tried again in 1.00 s), decided failed`
)

// TestModes is TestPolicy for restarts in which the old version goes first.
func TestModes(t *testing.T) {
	for name, script := range map[string]string{
		// Stop-first.
		"stop-first": second + serving2 + `
	expired 2 probation     => say confirmed 2, decided ok`,
		"stop-first, its own time-out": running + `
	begin 2 stop-first 3s   => prepare 2
	prepared 2              => quiesce 1
	exit 1 main last 143    => say gone 1, forget 1, launch 2
	launched 2 1            => say starting 2, timer ready 2 3s, timer settle 2 1s`,
		"refused before anything was touched": running + `
	begin 2 stop-first      => prepare 2
	launch-failed 2 ./x: command not found => say failed 2 (./x: command not found; generation 1 serves on), decided failed
	begin 3 stop-first      => prepare 3`,
		"the drain's deadline": running + `
	begin 2 stop-first      => prepare 2
	prepared 2              => quiesce 1
	quiesced 1              => say quiesced 1, timer drain 1 1m0s, drain 1
	counted 1 2             => say draining 1 left=2
	expired 1 drain         => say hammer 1 left=2, say stopping 1 left=2, signal 1 stop, timer kill 1 10s
	expired 1 kill          => say killed 1 left=2 (it outlived its stop signal by 10.00 s), kill 1
	exit 1 main last 137    => say gone 1 cut=2, forget 1, launch 2`,
		"it can't be quiesced": running + `
	begin 2 stop-first      => prepare 2
	prepared 2              => quiesce 1
	quiesce-failed 1 why    => resume 1
	resumed 1               => say resumed 1, say failed 2 (why; generation 1 serves on), decided failed, forget 2`,
		"it dies while the next one is prepared": running + `
	begin 2 stop-first      => prepare 2
	exit 1 main last 9      => say gone 1, forget 1
	prepared 2              => launch 2`,
		"one from before still drains": draining2 + `
	counted 2 0             => say drained 2, say stopping 2, signal 2 stop, timer kill 2 10s
	exit 2 main last 0      => say gone 2, forget 2
	begin 4 stop-first      => prepare 4
	prepared 4              => quiesce 3
	quiesced 3              => say quiesced 3, timer drain 3 1m0s, drain 3
	counted 3 0             => say drained 3, say stopping 3, signal 3 stop, timer kill 3 10s
	exit 3 main last 0      => say gone 3, forget 3
	counted 1 0             => say drained 1, say stopping 1, signal 1 stop, timer kill 1 10s
	exit 1 main last 0      => say gone 1, forget 1, launch 4`,

		// The new version fails, and the one before is started again.
		"it can't be launched": failed2 + `
	progress 3 1/1/1/1      => say ready 3, settled 3, say serving 3, timer probation 3 500ms
	expired 3 probation     => recovered 3, say failed 2 (why; the version before was started again and serves as generation 3), decided failed
	begin 4 stop-first      => prepare 4
	prepared 4              => quiesce 3`,
		"it exits": second + `
	wait 100ms
	exit 2 main last 1      => forget 2, launch 3 again=1`,
		"its first process fails, others live": second + `
	exit 2 main 1           => say stopping 2, signal 2 all stop, timer kill 2 10s
	exit 2 last 143         => say gone 2, forget 2, launch 3 again=1`,
		"it is not ready in time": second + `
	progress 2 1/1/1/0      => timer settle 2 1s
	expired 2 ready         => quiesce 2
	quiesced 2              => timer drain 2 1m0s, drain 2
	counted 2 0             => say drained 2, say stopping 2, signal 2 stop, timer kill 2 10s
	exit 2 main last 143    => say gone 2, forget 2, launch 3 again=1` + again + `
	progress 3 1/1/1/1      => say ready 3, settled 3, say serving 3, timer probation 3 500ms
	expired 3 probation     => recovered 3, say failed 2 (it was not ready after 0.00 s: it listens, but does not wait for connections; the version before was started again and serves as generation 3), decided failed`,
		"it dies in its probation": second + serving2 + `
	exit 2 main last 1      => say gone 2, forget 2, launch 3 again=1`,
		"the version before dies in its probation, too": failed2 + `
	progress 3 1/1/1/1      => say ready 3, settled 3, say serving 3, timer probation 3 500ms
	exit 3 main last 1      => say gone 3, forget 3, timer retry 0 1s, say retry 3 (it exited with status 1 after 0.00 s; it is tried again in 1.00 s), say failed 2 (why; the version before could not be started again either: connections wait, and it is tried again in 1.00 s), decided failed`,
		"it is tried again, ever later": recovering + `
	expired 0 retry         => launch 4 again=2
	launch-failed 4 why     => timer retry 0 2s, say retry 4 (why; it is tried again in 2.00 s)
	expired 0 retry         => launch 5 again=3
	launch-failed 5 why     => timer retry 0 4s, say retry 5 (why; it is tried again in 4.00 s)
	expired 0 retry         => launch 6 again=4
	launched 6 1            => say starting 6, timer ready 6 1m0s, timer settle 6 1s
	progress 6 1/1/1/1      => say ready 6, settled 6, say serving 6, timer probation 6 500ms
	expired 6 probation     => recovered 6`,
		"a restart mends it between two attempts": recovering + `
	begin 4                 => prepare 4
	prepared 4              => launch 4
	expired 0 retry         =>
	launched 4 1            => say starting 4, timer ready 4 1m0s, timer settle 4 1s
	progress 4 1/1/1/1      => say ready 4, settled 4, say serving 4, timer probation 4 500ms
	expired 4 probation     => say confirmed 4, decided ok`,
		"a restart that can't begin leaves the attempts alone": recovering + `
	begin 4                 => prepare 4
	launch-failed 4 no      => say failed 4 (no; the version before could not be started again either: connections wait, and it is tried again in 1.00 s), decided failed
	expired 0 retry         => launch 5 again=2`,
		"a restart ends an attempt": failed2 + `
	begin 4 stop-first      => say failed 2 (why; the version before is being started again), decided failed, prepare 4
	prepared 4              => say stopping 3, signal 3 stop, timer kill 3 10s
	exit 3 main last 143    => say gone 3, forget 3, launch 4`,
		"an attempt succeeds while a restart is prepared": failed2 + `
	begin 4 stop-first      => say failed 2 (why; the version before is being started again), decided failed, prepare 4
	progress 3 1/1/1/1      => say ready 3, settled 3, say serving 3, timer probation 3 500ms
	prepared 4              => recovered 3, prepare 4
	prepared 4              => quiesce 3`,
		"stop while it is tried again": recovering + `
	stop 15                 => end 2`,
		"stop in an attempt": failed2 + `
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say killed 3 (it was still starting), kill 3
	exit 3 main last 137    => forget 3, end 143`,
		"stop while the old one drains": running + `
	begin 2 stop-first      => prepare 2
	prepared 2              => quiesce 1
	quiesced 1              => say quiesced 1, timer drain 1 1m0s, drain 1
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, forget 2, say stopping 1, signal 1 15, timer kill 1 10s
	exit 1 main last 143    => say gone 1, forget 1, end 143`,
		"stop while the next one is prepared": running + `
	begin 2 stop-first      => prepare 2
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1, signal 1 15, timer kill 1 10s, say killed 2 (it was still starting), kill 2
	prepared 2              => forget 2`,

		// Exec.
		"exec": executed1 + serving2 + `
	expired 2 probation     => say confirmed 2, decided ok`,
		"exec cuts what is left at the drain's deadline": running + `
	begin 2 exec            => prepare 2
	prepared 2              => quiesce 1
	quiesced 1              => say quiesced 1, timer drain 1 1m0s, drain 1
	counted 1 2             => say draining 1 left=2
	expired 1 drain         => say hammer 1 left=2, execute 2 in 1
	hammer                  =>
	counted 1 1             => say draining 1 left=1
	executed 2 in 1 1       => say gone 1 cut=1, forget 1, say starting 2, timer ready 2 1m0s, timer settle 2 1s`,
		"exec fails": executing1 + `
	execute-failed 2 why    => resume 1
	counted 1 0             =>
	resumed 1               => say resumed 1, say failed 2 (why; generation 1 serves on), decided failed, forget 2
	begin 3 exec            => prepare 3`,
		"exec ends the process": executing1 + `
	exit 1 main last 139    => say gone 1, forget 1, say warning 2 (the old process ended before it could execute the new program: generation 2 gets another pid)
	execute-failed 2 gone   => launch 2`,
		"the process ends by itself": running + `
	begin 2 exec            => prepare 2
	prepared 2              => quiesce 1
	exit 1 main last 3      => say gone 1, forget 1, say warning 2 (the old process ended before it could execute the new program: generation 2 gets another pid), launch 2
	quiesced 1              =>`,
		"what exec'd fails": executed1 + `
	exit 2 main last 1      => forget 2, launch 3 again=1` + again + `
	progress 3 1/1/1/1      => say ready 3, settled 3, say serving 3, timer probation 3 500ms
	expired 3 probation     => recovered 3, say failed 2 (it exited with status 1 after 0.00 s; the version before was started again and serves as generation 3), decided failed`,
		"stop in an exec": executing1 + `
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1, signal 1 15, timer kill 1 10s, say killed 2 (it was still starting), kill 2
	executed 2 in 1 1       => say gone 1, forget 1, kill 2
	exit 2 main last 137    => forget 2, end 137`,
		"stop in an exec that fails": executing1 + `
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1, signal 1 15, timer kill 1 10s, say killed 2 (it was still starting), kill 2
	execute-failed 2 why    => forget 2
	exit 1 main last 143    => say gone 1, forget 1, end 143`,
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) { play(t, Policy{}, script) })
	}
}

func TestBusyInModes(t *testing.T) {
	var events []Event
	for _, c := range []struct {
		event       Event
		busy, state string
	}{
		{RestartWanted{N: 1}, "", "running"},
		{Prepared{1}, "", "running"},
		{Launched{N: 1}, "", "running"},
		{RestartWanted{N: 2, Mode: Exec}, "generation 2 is starting", "restarting"},
		{Prepared{2}, "generation 2 is waiting for the one before it to end", "restarting"},
		{Quiesced{1}, "generation 2 is waiting for the one before it to end", "restarting"},
		{Counted{N: 1, Left: 0}, "generation 2 is being executed", "restarting"},
		{Executed{N: 2, Old: 1, Offered: 1}, "generation 2 is starting", "restarting"},
		{Exited{N: 2, Main: true, Last: true}, "", "restarting"},
		{Launched{N: 3, Offered: 1}, "", "restarting"},
		{Progressed{3, Progress{Offered: 1, Adopted: 1, Listening: 1, Waiting: 1}}, "generation 3 is on probation", "restarting"},
		{Exited{N: 3, Main: true, Last: true}, "", "recovering"},
		{StopWanted{Signal: 15}, "", "stopping"},
	} {
		events = append(events, c.event)
		if m := machine(events...); m.Busy() != c.busy || m.State() != c.state {
			t.Errorf("after %T: %q, %q", c.event, m.Busy(), m.State())
		}
	}
}

func TestBackoff(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 5 * time.Second}
	for _, want := range []time.Duration{1, 2, 4, 5, 5, 5} {
		if got := b.Next(); got != want*time.Second {
			t.Errorf("%v, not %v s", got, want)
		}
	}
	b.Reset()
	if got := b.Next(); got != time.Second {
		t.Error(got)
	}
}
