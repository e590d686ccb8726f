package generation

import (
	"strings"
	"testing"
	"time"
)

// What everything begins with, in the words of script_test.go.
const (
	running = `
	restart 1               => launch 1
	launched 1              => say starting 1
	progress 1 0/0/1/0      => timer settle 1 5s
	progress 1 0/0/1/1      => settled 1, say serving 1`
	starting = running + `
	restart 2               => launch 2
	launched 2 1            => say starting 2, timer ready 2 1m0s, timer settle 2 1s`
	quiescing = starting + `
	progress 2 1/1/1/1      => say ready 2, quiesce 1`
	probation = quiescing + `
	quiesced 1              => settled 2, say serving 2, timer probation 2 500ms, timer drain 1 1m0s, drain 1
	counted 1 3             => say draining 1 left=3`
	confirmed = probation + `
	expired 2 probation     => say confirmed 2, decided ok`
	draining2 = confirmed + `
	restart 3               => launch 3
	launched 3 1            => say starting 3, timer ready 3 1m0s, timer settle 3 1s
	progress 3 1/1/1/1      => say ready 3, quiesce 2
	quiesced 2              => settled 3, say serving 3, timer probation 3 500ms, timer drain 2 1m0s, drain 2
	expired 3 probation     => say confirmed 3, decided ok`
	stopping = running + `
	stop 15                 => say stopping 1, signal 1 15, timer kill 1 10s`
	killer = "killed 1 (it outlived its stop signal by 10.00 s)"
)

// TestPolicy is the policy in a table: what happens => what is done about it.
func TestPolicy(t *testing.T) {
	for name, script := range map[string]string{
		// A good restart.
		"drained after the probation": confirmed + `
	counted 1 1             => say draining 1 left=1
	counted 1 0             => say drained 1, say stopping 1, signal 1 stop, timer kill 1 10s
	exit 1 main last 143    => say gone 1, forget 1`,
		"drained before the probation ends": probation + `
	counted 1 0             => say drained 1
	expired 2 probation     => say confirmed 2, decided ok, say stopping 1, signal 1 stop, timer kill 1 10s
	exit 1 main last 0      => say gone 1, forget 1`,
		"a count that stays is not told again": confirmed + `
	counted 1 3             =>
	counted 1 0             => say drained 1, say stopping 1, signal 1 stop, timer kill 1 10s
	counted 1 0             =>`,
		"adopted fewer than offered, settled": starting + `
	progress 2 2/1/1/1      => timer settle 2 1s
	expired 2 settle        => say ready 2, quiesce 1`,
		"not settled while it does not wait": starting + `
	progress 2 2/1/1/0      => timer settle 2 1s
	expired 2 settle        =>
	progress 2 2/1/1/1      => timer settle 2 1s
	expired 2 settle        => say ready 2, quiesce 1`,
		"nothing is offered, and it listens on nothing": `
	restart 1               => launch 1
	launched 1              => say starting 1
	restart 2               => launch 2
	launched 2 0            => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	expired 2 settle        => say ready 2, quiesce 1`,
		"its own time-out": running + `
	restart 2 3s            => launch 2
	launched 2 1            => say starting 2, timer ready 2 3s, timer settle 2 1s`,
		"drains at once": draining2 + `
	counted 2 0             => say drained 2, say stopping 2, signal 2 stop, timer kill 2 10s
	exit 2 main last 0      => say gone 2, forget 2
	counted 1 0             => say drained 1, say stopping 1, signal 1 stop, timer kill 1 10s
	exit 1 main last 0      => say gone 1, forget 1`,

		// The new version fails.
		"the launch fails": running + `
	restart 2               => launch 2
	launch-failed 2 ./x: command not found => say failed 2 (./x: command not found; generation 1 serves on), decided failed
	restart 3               => launch 3`,
		"exits before it is ready": starting + `
	call-failed 2 bind :80: address already in use =>
	wait 250ms
	exit 2 main last 1      => forget 2, say failed 2 (it exited with status 1 after 0.25 s; its last failed call: bind :80: address already in use; generation 1 serves on), decided failed`,
		"its first process fails, others live": starting + `
	exit 2 main 1           => say stopping 2, signal 2 all stop, timer kill 2 10s, say failed 2 (it exited with status 1 after 0.00 s; generation 1 serves on), decided failed
	exit 2 last 143         => say gone 2, forget 2`,
		"time-out, nothing adopted": starting + `
	wait 1m
	expired 2 ready         => say stopping 2, signal 2 stop, timer kill 2 10s, say failed 2 (it was not ready after 60.00 s: it does not listen on the socket that it was to take over; generation 1 serves on), decided failed
	expired 2 kill          => say killed 2 (it outlived its stop signal by 10.00 s), kill 2
	exit 2 main last 137    => say gone 2, forget 2`,
		"time-out with adopted sockets: what it accepted, it may finish": starting + `
	progress 2 1/1/1/0      => timer settle 2 1s
	expired 2 ready         => quiesce 2, say failed 2 (it was not ready after 0.00 s: it listens, but does not wait for connections; generation 1 serves on), decided failed
	quiesced 2              => timer drain 2 1m0s, drain 2
	counted 2 1             => say draining 2 left=1
	expired 2 drain         => say hammer 2 left=1, say stopping 2 left=1, signal 2 stop, timer kill 2 10s
	exit 2 main last 143    => say gone 2 cut=1, forget 2`,
		"a retired generation that can't be quiesced": starting + `
	progress 2 1/1/1/0      => timer settle 2 1s
	expired 2 ready         => quiesce 2, say failed 2 (it was not ready after 0.00 s: it listens, but does not wait for connections; generation 1 serves on), decided failed
	quiesce-failed 2 no     => say stopping 2, signal 2 stop, timer kill 2 10s`,
		"a retired generation that is hammered while it is quiesced": starting + `
	progress 2 1/1/1/0      => timer settle 2 1s
	expired 2 ready         => quiesce 2, say failed 2 (it was not ready after 0.00 s: it listens, but does not wait for connections; generation 1 serves on), decided failed
	hammer                  => say hammer 2, say stopping 2, signal 2 stop, timer kill 2 10s
	quiesced 2              =>
	expired 2 kill          => say killed 2 (it outlived its stop signal by 10.00 s), kill 2`,
		"dies while the old one is quiesced": quiescing + `
	exit 2 main last 139    => say gone 2, forget 2
	quiesced 1              => resume 1
	resumed 1               => say resumed 1, say failed 2 (it exited with status 139 after 0.00 s; generation 1 serves on), decided failed`,
		"dies in its probation": probation + `
	exit 2 main last 1      => say gone 2, forget 2, resume 1
	counted 1 0             => say drained 1
	resumed 1               => say resumed 1, say failed 2 (it exited with status 1 after 0.00 s; generation 1 serves on), decided failed
	counted 1 2             =>
	restart 3               => launch 3`,
		"the one that was resumed drains again": probation + `
	exit 2 main last 1      => say gone 2, forget 2, resume 1
	resumed 1               => say resumed 1, say failed 2 (it exited with status 1 after 0.00 s; generation 1 serves on), decided failed
	restart 3               => launch 3
	launched 3 1            => say starting 3, timer ready 3 1m0s, timer settle 3 1s
	progress 3 1/1/1/1      => say ready 3, quiesce 1
	quiesced 1              => settled 3, say serving 3, timer probation 3 500ms, timer drain 1 1m0s, drain 1
	counted 1 3             => say draining 1 left=3
	expired 3 probation     => say confirmed 3, decided ok`,
		"a part of it dies in its probation": probation + `
	exit 2 1                =>
	expired 2 probation     => say confirmed 2, decided ok`,
		"its first process ends in its probation, late": probation + `
	exit 2 main 0           => check 2
	expired 2 probation     => timer probation 2 500ms
	listened 2 yes          =>
	expired 2 probation     => say confirmed 2, decided ok`,
		"its first process fails in its probation, the others listen on nothing": probation + `
	exit 2 main 1           => check 2
	listened 2 no           => say gone 2, forget 2, resume 1
	resumed 1               => say resumed 1, say failed 2 (it exited with status 1 after 0.00 s; generation 1 serves on), decided failed`,
		"the old one can't be quiesced": quiescing + `
	quiesce-failed 1 why    => resume 1, quiesce 2
	resumed 1               => say resumed 1, say failed 2 (why; generation 1 serves on), decided failed
	quiesced 2              => timer drain 2 1m0s, drain 2
	counted 2 0             => say drained 2, say stopping 2, signal 2 stop, timer kill 2 10s`,
		"the old one can't be quiesced, and the new one dies of it": quiescing + `
	quiesce-failed 1 why    => resume 1, quiesce 2
	exit 2 main last 0      => say gone 2, forget 2
	resumed 1               => say resumed 1, say failed 2 (why; generation 1 serves on), decided failed`,

		"something is known to be wrong beforehand": running + `
	begin 2                 => prepare 2
	launch-failed 2 hook    => say failed 2 (hook; generation 1 serves on), decided failed
	begin 3                 => prepare 3
	prepared 3              => launch 3`,
		"stop while it is prepared": running + `
	begin 2                 => prepare 2
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1, signal 1 15, timer kill 1 10s, say killed 2 (it was still starting), kill 2
	prepared 2              => forget 2
	exit 1 main last 0      => say gone 1, forget 1, end 0`,
		"stop while the first one is prepared": `
	begin 1                 => prepare 1
	stop 15                 => say killed 1 (it was still starting), kill 1
	prepared 1              => forget 1, end 143`,
		"the old one dies while the new one is prepared": running + `
	begin 2                 => prepare 2
	exit 1 main last 9      => say gone 1, forget 1
	prepared 2              => launch 2
	launched 2 0            => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	progress 2 0/0/1/1      => say ready 2, settled 2, say serving 2, timer probation 2 500ms`,

		// The old version goes.
		"the old one dies while the new one starts": starting + `
	exit 1 main last 1      => say gone 1, forget 1
	progress 2 1/1/1/1      => say ready 2, settled 2, say serving 2, timer probation 2 500ms
	expired 2 probation     => say confirmed 2, decided ok`,
		"both die, the old one first": starting + `
	exit 1 main last 9      => say gone 1, forget 1
	exit 2 main last 1      => forget 2, say failed 2 (it exited with status 1 after 0.00 s; nothing serves any more), decided failed, end 9`,
		"the old one dies, and the new one is late": starting + `
	exit 1 main last 9      => say gone 1, forget 1
	expired 2 ready         => settled 2, say failed 2 (it was not ready after 0.00 s: it does not listen on the socket that it was to take over; it is left to go on, since nothing else serves), decided failed
	exit 2 main last 3      => say gone 2, forget 2, end 3`,
		"the old one dies while it is quiesced": quiescing + `
	exit 1 main last 1      => say gone 1, forget 1, settled 2, say serving 2, timer probation 2 500ms
	quiesced 1              =>
	expired 2 probation     => say confirmed 2, decided ok`,
		"both die while the old one is quiesced": quiescing + `
	exit 2 main last 1      => say gone 2, forget 2
	exit 1 main last 2      => say gone 1, forget 1, say failed 2 (it exited with status 1 after 0.00 s; nothing serves any more), decided failed, end 2
	quiesced 1              =>`,
		"the old one dies while it drains": confirmed + `
	exit 1 main last 1      => say gone 1 cut=3, forget 1
	exit 2 main last 4      => say gone 2, forget 2, end 4`,
		"the old one dies in the probation, then the new one": probation + `
	exit 1 main last 1      => say gone 1 cut=3, forget 1
	exit 2 main last 7      => say gone 2, forget 2, say failed 2 (it exited with status 7 after 0.00 s; nothing serves any more), decided failed, end 7`,
		"the old one dies while it is resumed": probation + `
	exit 2 main last 7      => say gone 2, forget 2, resume 1
	exit 1 main last 1      => say gone 1 cut=3, forget 1, say failed 2 (it exited with status 7 after 0.00 s; nothing serves any more), decided failed, end 7
	resumed 1               =>`,

		// The hammer.
		"the drain's deadline": confirmed + `
	expired 1 drain         => say hammer 1 left=3, say stopping 1 left=3, signal 1 stop, timer kill 1 10s
	counted 1 2             =>
	expired 1 kill          => say killed 1 left=2 (it outlived its stop signal by 10.00 s), kill 1
	exit 1 main last 137    => say gone 1 cut=2, forget 1`,
		"a deadline in the probation waits for its end": probation + `
	expired 1 drain         => say hammer 1 left=3
	expired 2 probation     => say confirmed 2, decided ok, say stopping 1 left=3, signal 1 stop, timer kill 1 10s`,
		"a deadline in the probation, and then it is needed again": probation + `
	hammer                  => say hammer 1 left=3
	exit 2 main last 7      => say gone 2, forget 2, resume 1
	resumed 1               => say resumed 1, say failed 2 (it exited with status 7 after 0.00 s; generation 1 serves on), decided failed`,
		"USR2 ends all drains, twice kills": draining2 + `
	hammer                  => say hammer 1 left=3, say stopping 1 left=3, signal 1 stop, timer kill 1 10s, say hammer 2, say stopping 2, signal 2 stop, timer kill 2 10s
	hammer                  => say killed 1 left=3 (told to go at once), kill 1, say killed 2 (told to go at once), kill 2
	hammer                  =>`,
		"USR2 while nothing drains": running + `
	hammer                  =>`,

		// Programs that fork.
		"daemonizes while it starts": starting + `
	exit 2 main 0           =>
	progress 2 1/1/1/1      => say ready 2, quiesce 1
	quiesced 1              => settled 2, say serving 2, timer probation 2 500ms, check 2, timer drain 1 1m0s, drain 1
	listened 2 yes          =>
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1, signal 1 15, timer kill 1 10s, say stopping 2, signal 2 15, timer kill 2 10s`,
		"the first one daemonizes": running + `
	exit 1 main 0           => check 1
	listened 1 yes          =>
	exit 1 main last 5      => say gone 1, forget 1, end 5`,
		"the first one leaves children that listen later": running + `
	exit 1 main 0           => check 1
	listened 1 no           => timer daemon 1 1m0s
	expired 1 daemon        => check 1
	listened 1 yes          =>`,
		"the first one leaves children that never listen": running + `
	exit 1 main 0           => check 1
	listened 1 no           => timer daemon 1 1m0s
	expired 1 daemon        => check 1
	listened 1 no           => say gone 1, forget 1, end 0`,
		"the first one fails and leaves children": running + `
	exit 1 main 3           => check 1
	listened 1 no           => say gone 1, forget 1, end 3`,
		"a child's end is no news": running + `
	exit 1 1                =>`,
		"the main process ends in a drain": confirmed + `
	exit 1 main 0           =>
	counted 1 0             => say drained 1, say stopping 1, signal 1 all stop, timer kill 1 10s`,
		"the main process ends at the stop signal, others don't": stopping + `
	exit 1 main 0           => signal 1 all stop
	exit 1 last 0           => say gone 1, forget 1, end 0`,
		"resumed without its main process": probation + `
	exit 1 main 0           =>
	exit 2 main last 1      => say gone 2, forget 2, resume 1
	resumed 1               => say resumed 1, check 1, say failed 2 (it exited with status 1 after 0.00 s; generation 1 serves on), decided failed`,

		// The end.
		"ends by itself": running + `
	exit 1 main last 3      => say gone 1, forget 1, end 3`,
		"ends by itself while another drains": confirmed + `
	exit 2 main last 3      => say gone 2, forget 2, resume 1
	counted 1 0             =>
	resumed 1               => say resumed 1
	exit 1 main last 0      => say gone 1, forget 1, end 0`,
		"stop": stopping + `
	exit 1 main last 143    => say gone 1, forget 1, end 143`,
		"stop that the program got as well": running + `
	stop 2 sent             => say stopping 1, timer kill 1 10s`,
		"stop that it outlives": stopping + `
	expired 1 kill          => say ` + killer + `, kill 1
	exit 1 main last 137    => say gone 1, forget 1, end 137`,
		"the second stop kills": stopping + `
	stop 15                 => say killed 1 (told to stop again), kill 1
	stop 15                 =>`,
		"stop at once": running + `
	stop now                => say killed 1 (told to stop at once), kill 1`,
		"stop before the first launch was heard of": `
	restart 1               => launch 1
	stop 15                 => say killed 1 (it was still starting), kill 1
	launched 1              => kill 1
	exit 1 main last 137    => forget 1, end 137`,
		"stop while the next one starts": starting + `
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1, signal 1 15, timer kill 1 10s, say killed 2 (it was still starting), kill 2
	progress 2 1/1/1/1      =>
	exit 2 main last 137    => forget 2
	exit 1 main last 0      => say gone 1, forget 1, end 0`,
		"stop while the next one is launched, which fails": running + `
	restart 2               => launch 2
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1, signal 1 15, timer kill 1 10s, say killed 2 (it was still starting), kill 2
	launch-failed 2 why     =>
	exit 1 main last 0      => say gone 1, forget 1, end 0`,
		"stop at once while one drains": confirmed + `
	stop now                => say killed 1 left=3 (told to stop at once), kill 1, say killed 2 (told to stop at once), kill 2
	counted 1 0             =>`,
		"stop while the old one is quiesced": quiescing + `
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1, signal 1 15, timer kill 1 10s, say killed 2 (it was still starting), kill 2
	quiesced 1              =>
	expired 1 kill          => say ` + killer + `, kill 1`,
		"stop while the old one can't be quiesced": quiescing + `
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1, signal 1 15, timer kill 1 10s, say killed 2 (it was still starting), kill 2
	quiesce-failed 1 why    =>`,
		"stop while the old one is resumed": probation + `
	exit 2 main last 1      => say gone 2, forget 2, resume 1
	stop 15                 => say failed 2 (the instance was told to stop), decided failed, say stopping 1 left=3, signal 1 15, timer kill 1 10s
	resumed 1               =>
	exit 1 main last 0      => say gone 1 cut=3, forget 1, end 1`,
		"stop while several drain": draining2 + `
	counted 2 1             => say draining 2 left=1
	stop 15                 => say stopping 1 left=3, signal 1 15, timer kill 1 10s, say stopping 2 left=1, signal 2 15, timer kill 2 10s, say stopping 3, signal 3 15, timer kill 3 10s
	exit 3 main last 0      => say gone 3, forget 3
	exit 2 main last 0      => say gone 2 cut=1, forget 2
	counted 1 0             =>
	exit 1 main last 0      => say gone 1, forget 1, end 0`,
		"stop while one is stopping": confirmed + `
	hammer                  => say hammer 1 left=3, say stopping 1 left=3, signal 1 stop, timer kill 1 10s
	stop 15                 => say stopping 2, signal 2 15, timer kill 2 10s`,
		"USR2 after a stop changes nothing": stopping + `
	hammer                  =>`,

		// The first one is watched until it waits.
		"the first one never waits": `
	restart 1               => launch 1
	launched 1              => say starting 1
	progress 1 0/0/2/1      => timer settle 1 5s
	expired 1 settle        => settled 1
	progress 1 0/0/2/2      =>`,
		"the first one can't be launched": `
	restart 1               => launch 1
	launch-failed 1 why     =>`,
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) { play(t, Policy{}, script) })
	}
}

// running1 is running and starting where the first one was not said to serve.
const running1 = `
	restart 1               => launch 1
	launched 1              => say starting 1
	restart 2               => launch 2
	launched 2 1            => say starting 2, timer ready 2 1m0s, timer settle 2 1s`

func TestPolicyOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		policy Policy
		script string
	}{
		"a drain without a deadline": {Policy{DrainTimeout: -1}, quiescing + `
	quiesced 1              => settled 2, say serving 2, timer probation 2 500ms, drain 1`},
		"ready by its own word": {Policy{Ready: ByWord}, `
	restart 1               => launch 1
	launched 1              => say starting 1
	progress 1 0/0/1/1      => settled 1
	told 1                  => say serving 1
	told 1                  =>
	restart 2               => launch 2
	launched 2 1            => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	progress 2 1/1/1/1      => admit 2
	told 2                  => say ready 2, quiesce 1
	quiesced 1              => settled 2, say serving 2, timer probation 2 500ms, timer drain 1 1m0s, drain 1
	expired 2 probation     => say confirmed 2, decided ok
	restart 3               => launch 3
	launched 3 1            => say starting 3, timer ready 3 1m0s, timer settle 3 1s
	told 3                  =>
	progress 3 1/1/1/0      => timer settle 3 1s, say ready 3, quiesce 2`},
		"it says the word before its launch was heard of": {Policy{Ready: ByWord}, `
	restart 1               => launch 1
	launched 1              => say starting 1
	told 1                  => say serving 1
	restart 2               => launch 2
	told 2                  =>
	launched 2 0            => say starting 2, timer ready 2 1m0s, timer settle 2 1s, say ready 2, quiesce 1`},
		"it never says the word": {Policy{Ready: ByWord}, running1 + `
	expired 2 ready         => say stopping 2, signal 2 stop, timer kill 2 10s, say failed 2 (it was not ready after 0.00 s: nobody said that it is; generation 1 serves on), decided failed`},
		"ready when it accepts and was found well": {Policy{Ready: ByBoth}, running1 + `
	told 2                  =>
	progress 2 1/1/1/1      => say ready 2, quiesce 1`},
		"found well before its launch was heard of": {Policy{Ready: ByBoth}, `
	restart 1               => launch 1
	told 1                  =>
	launched 1              => say starting 1
	progress 1 0/0/1/1      => settled 1, say serving 1`},
		"it accepts and is never found well": {Policy{Ready: ByBoth}, running1 + `
	progress 2 1/1/1/1      => admit 2
	doubted 2 503           =>
	expired 2 settle        =>
	expired 2 ready         => quiesce 2, say failed 2 (it was not ready after 0.00 s: 503; generation 1 serves on), decided failed`},
		"revived at once, then later and later, and at once again when it served": {Policy{Revive: ReviveAlways, ReviveDelay: time.Second, ReviveReset: time.Minute}, running + `
	exit 1 main last 0      => say gone 1, forget 1, say reviving 0 (it exited with status 0 after 0.00 s), revive after 0s
	due 2                   => launch 2
	launched 2 1            => say starting 2
	progress 2 1/1/1/1      => settled 2, say serving 2
	exit 2 main last 1      => say gone 2, forget 2, say reviving 0 (it exited with status 1 after 0.00 s), revive after 1s
	due 3                   => launch 3
	launch-failed 3 why     => say failed 3 (why), say reviving 0 (why), revive after 2s
	due 4                   => launch 4
	launched 4 1            => say starting 4
	exit 4 main last 137    => say gone 4, forget 4, say reviving 0 (it exited with status 137 after 0.00 s), revive after 4s
	due 5                   => launch 5
	launched 5 1            => say starting 5
	progress 5 1/1/1/1      => settled 5, say serving 5
	wait 1m
	exit 5 main last 0      => say gone 5, forget 5, say reviving 0 (it exited with status 0 after 60.00 s), revive after 0s`},
		"a stop ends the pause before a revival": {Policy{Revive: ReviveAlways}, running + `
	exit 1 main last 3      => say gone 1, forget 1, say reviving 0 (it exited with status 3 after 0.00 s), revive after 0s
	stop 15                 => end 3
	due 2                   =>`},
		"a stop ends a revival": {Policy{Revive: ReviveAlways}, running + `
	exit 1 main last 3      => say gone 1, forget 1, say reviving 0 (it exited with status 3 after 0.00 s), revive after 0s
	due 2                   => launch 2
	stop 15                 => say killed 2 (it was still starting), kill 2
	launched 2 1            => kill 2
	exit 2 main last 137    => forget 2, end 137`},
		"on failure": {Policy{Revive: ReviveOnFailure}, running + `
	exit 1 main last 3      => say gone 1, forget 1, say reviving 0 (it exited with status 3 after 0.00 s), revive after 0s
	due 2                   => launch 2
	launched 2 1            => say starting 2
	exit 2 main last 143    => say gone 2, forget 2, end 143`},
		"it gives up": {Policy{Revive: ReviveAlways, ReviveMax: 1}, running + `
	exit 1 main last 3      => say gone 1, forget 1, say reviving 0 (it exited with status 3 after 0.00 s), revive after 0s
	due 2                   => launch 2
	launched 2 1            => say starting 2
	exit 2 main last 4      => say gone 2, forget 2, say failed 0 (the program ended 2 times in a row (--revive-max): it is not started again), end 4`},
		"a restart in the pause": {Policy{Revive: ReviveAlways}, running + `
	exit 1 main last 3      => say gone 1, forget 1, say reviving 0 (it exited with status 3 after 0.00 s), revive after 0s
	restart 2               => launch 2
	due 9                   =>
	launched 2 1            => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	exit 2 main last 5      => forget 2, say failed 2 (it exited with status 5 after 0.00 s; nothing serves any more), decided failed, say reviving 0 (it exited with status 3 after 0.00 s), revive after 0s
	due 3                   => launch 3`},
		"the serving one dies while another drains, which goes on draining": {Policy{Revive: ReviveAlways}, confirmed + `
	exit 2 main last 3      => say gone 2, forget 2, say reviving 0 (it exited with status 3 after 0.00 s), revive after 0s
	counted 1 0             => say drained 1, say stopping 1, signal 1 stop, timer kill 1 10s
	due 3                   => launch 3
	exit 1 main last 1      => say gone 1, forget 1
	launched 3 1            => say starting 3`},
		"a draining one dies, and nobody is disturbed": {Policy{Revive: ReviveAlways}, confirmed + `
	exit 1 main last 1      => say gone 1 cut=3, forget 1`},
		"one that dies in its probation is rolled back, not revived": {Policy{Revive: ReviveAlways}, probation + `
	exit 2 main last 1      => say gone 2, forget 2, resume 1
	resumed 1               => say resumed 1, say failed 2 (it exited with status 1 after 0.00 s; generation 1 serves on), decided failed`},
		"the old one dies while the new one starts, and that fails, too": {Policy{Revive: ReviveAlways}, starting + `
	exit 1 main last 9      => say gone 1, forget 1
	exit 2 main last 1      => forget 2, say failed 2 (it exited with status 1 after 0.00 s; nothing serves any more), decided failed, say reviving 0 (it exited with status 9 after 0.00 s), revive after 0s`},
		"children are waited for at the end": {Policy{WaitChildren: true}, stopping + `
	exit 1 main 0           =>
	expired 1 kill          =>
	exit 1 last 7           => say gone 1, forget 1, end 0`},
		"children that serve nobody are waited for": {Policy{WaitChildren: true}, running + `
	exit 1 main 3           => check 1
	listened 1 no           =>
	exit 1 last 0           => say gone 1, forget 1, end 3`},
		"a second stop does not wait for children": {Policy{WaitChildren: true}, stopping + `
	exit 1 main 0           =>
	stop 15                 => say killed 1 (told to stop again), kill 1`},
		"children of a drained one are waited for": {Policy{WaitChildren: true}, confirmed + `
	exit 1 main 0           =>
	counted 1 0             => say drained 1, say stopping 1
	exit 1 last 0           => say gone 1, forget 1`},
		"a ring that nobody can see wait": {Policy{BlindReady: true}, `
	restart 1               => launch 1
	launched 1              => say starting 1
	progress 1 0/0/1/0      => timer settle 1 1s
	expired 1 settle        => settled 1
	restart 2               => launch 2
	launched 2 1            => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	progress 2 1/1/1/0      => timer settle 2 1s
	expired 2 settle        => say ready 2, quiesce 1`},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) { play(t, c.policy, c.script) })
	}
}
