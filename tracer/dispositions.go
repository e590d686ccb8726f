package tracer

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// signalSets reads sets of signals of task tid from /proc, by their names there
// (proc_pid_status(5)), bit n-1 for signal n.
func signalSets(tid int, names ...string) (sets []uint64, ok bool) {
	found := make(map[string]uint64)
	err := eachStatus(tid, func(name, v string) {
		if strings.HasPrefix(name, "Sig") || name == "ShdPnd" {
			found[name], _ = strconv.ParseUint(v, 16, 64)
		}
	})
	if err != nil {
		return nil, false
	}
	for _, n := range names {
		sets = append(sets, found[n])
	}
	return sets, true
}

// caughtSignalPends reports whether a signal for which the program has a handler
// waits for task tid.
func caughtSignalPends(tid int) bool {
	s, ok := signalSets(tid, "SigPnd", "ShdPnd", "SigBlk", "SigCgt")
	return ok && (s[0]|s[1])&^s[2]&s[3] != 0
}

// hasHandler reports whether the program catches sig.
func hasHandler(tid int, sig unix.Signal) bool {
	s, ok := signalSets(tid, "SigCgt")
	return ok && s[0]&(1<<(sig-1)) != 0
}
