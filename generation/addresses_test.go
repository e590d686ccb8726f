package generation

import "testing"

// TestAddresses: a version that serves where nobody comes is not ready, and
// what it may leave is for whoever restarts to say.
func TestAddresses(t *testing.T) {
	const (
		restart = running + `
	restart 2               => launch 2
	launched 2 2@2          => say starting 2, timer ready 2 1m0s, timer settle 2 1s`
		keep = running + `
	restart 2 keep          => launch 2
	launched 2 2@2          => say starting 2, timer ready 2 1m0s, timer settle 2 1s`
	)
	for name, script := range map[string]string{
		"it listens elsewhere": restart + `
	progress 2 2/0/1/1@0/2  => timer settle 2 1s
	expired 2 settle        => say warning 2 (generation 2 is not ready: it took over none of the addresses of the version before (2 addresses); --may-move lets it listen elsewhere; it has 60.00 s for that (--ready-timeout))
	expired 2 settle        =>
	expired 2 ready         => say stopping 2, signal 2 stop, timer kill 2 10s, say failed 2 (it was not ready after 0.00 s: it took over none of the addresses of the version before (2 addresses); --may-move lets it listen elsewhere; generation 1 serves on), decided failed`,
		"it listens elsewhere first": restart + `
	progress 2 2/0/1/1@0/2  => timer settle 2 1s
	expired 2 settle        => say warning 2 (generation 2 is not ready: it took over none of the addresses of the version before (2 addresses); --may-move lets it listen elsewhere; it has 60.00 s for that (--ready-timeout))
	progress 2 2/1/2/2@1/2  => timer settle 2 1s
	expired 2 settle        => say ready 2, quiesce 1`,
		"it may": running + `
	restart 2 may-move      => launch 2
	launched 2 2@2          => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	progress 2 2/0/1/1@0/2  => timer settle 2 1s
	expired 2 settle        => say ready 2, quiesce 1`,
		"but it must listen": running + `
	restart 2 may-move      => launch 2
	launched 2 2@2          => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	expired 2 settle        =>
	expired 2 ready         => say stopping 2, signal 2 stop, timer kill 2 10s, say failed 2 (it was not ready after 0.00 s: it listens on none of the 2 sockets that it was to take over; generation 1 serves on), decided failed`,
		"one of two": restart + `
	progress 2 2/1/1/1@1/2  => timer settle 2 1s
	expired 2 settle        => say ready 2, quiesce 1`,
		"one of two is too few": keep + `
	progress 2 2/1/1/1@1/2  => timer settle 2 1s
	expired 2 settle        => say warning 2 (generation 2 is not ready: it did not take over one address (--keep-addresses); it has 60.00 s for that (--ready-timeout))
	expired 2 ready         => quiesce 2, say failed 2 (it was not ready after 0.00 s: it did not take over one address (--keep-addresses); generation 1 serves on), decided failed`,
		"two of two": keep + `
	progress 2 2/2/2/2@2/2  => say ready 2, quiesce 1`,
		"what is private need not be kept": running + `
	restart 2 keep          => launch 2
	launched 2 3@1          => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	progress 2 3/1/2/2@1/1  => timer settle 2 1s
	expired 2 settle        => say ready 2, quiesce 1`,
		"when the old one has gone for it, that is started again": running + `
	restart 2 stop-first    => quiesce 1
	quiesced 1              => say quiesced 1, timer drain 1 1m0s, drain 1
	counted 1 0             => say drained 1, say stopping 1, signal 1 stop, timer kill 1 10s
	exit 1 main last 0      => say gone 1, forget 1, launch 2
	launched 2 1@1          => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	progress 2 1/0/1/1@0/1  => timer settle 2 1s
	expired 2 ready         => say stopping 2, signal 2 stop, timer kill 2 10s
	exit 2 main last 0      => say gone 2, forget 2, launch 3 again=1
	launched 3 1@1          => say starting 3, timer ready 3 1m0s, timer settle 3 1s
	progress 3 1/0/1/1@0/1  => timer settle 3 1s
	expired 3 settle        => say ready 3, settled 3, say serving 3, timer probation 3 500ms`,
		"nothing is held, though it listened": running + `
	restart 2               => launch 2
	launched 2 0            => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	expired 2 settle        =>
	expired 2 ready         => say stopping 2, signal 2 stop, timer kill 2 10s, say failed 2 (it was not ready after 0.00 s: it listens on nothing, and the version before does; generation 1 serves on), decided failed`,
		"the first one listens while the second one starts": `
	restart 1               => launch 1
	launched 1              => say starting 1
	restart 2               => launch 2
	launched 2 0            => say starting 2, timer ready 2 1m0s, timer settle 2 1s
	progress 1 0/0/1/1      => settled 1, say serving 1
	expired 2 settle        =>
	progress 2 0/0/1/1      => say ready 2, quiesce 1`,
		"that, in vain": `
	restart 1               => launch 1
	launched 1              => say starting 1
	begin 2 exec            => prepare 2
	progress 1 0/0/1/1      => settled 1, say serving 1
	prepared 2              => quiesce 1
	quiesced 1              => say quiesced 1, timer drain 1 1m0s, drain 1
	counted 1 0             => say drained 1, execute 2 in 1
	executed 2 in 1 0       => say gone 1, forget 1, say starting 2, timer ready 2 1m0s, timer settle 2 1s
	expired 2 settle        =>`,
	} {
		t.Run(name, func(t *testing.T) { play(t, Policy{}, script) })
	}
	t.Run("it says that it is ready, and has nothing", func(t *testing.T) {
		play(t, Policy{Ready: ByWord}, restart1+`
	told 2                  =>
	expired 2 ready         => say stopping 2, signal 2 stop, timer kill 2 10s, say failed 2 (it was not ready after 0.00 s: it took over none of the addresses of the version before (one address); --may-move lets it listen elsewhere; generation 1 serves on), decided failed`)
	})
	t.Run("it says so too early", func(t *testing.T) {
		play(t, Policy{Ready: ByWord}, restart1+`
	told 2                  =>
	progress 2 1/1/1/0@1/1  => timer settle 2 1s, say ready 2, quiesce 1`)
	})
}

const restart1 = `
	restart 1               => launch 1
	launched 1              => say starting 1
	restart 2               => launch 2
	launched 2 1@1          => say starting 2, timer ready 2 1m0s, timer settle 2 1s`
