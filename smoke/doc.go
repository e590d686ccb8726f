// Package smoke proves that a server restarts without losing a request.
//
// Run starts the server under hupt, finds from the kernel what it listens on,
// loads it with four kinds of client at once, restarts it while they go on,
// has a version fail, stops it, and returns a Report: what was measured, and a
// list of checks, each with a name, a verdict and its figure.
//
// The course (run.go) only measures. What the measurements mean is decided by
// Judge, which reads nothing but them; what it decided is shown by the writers
// (text, JSON, JUnit, TAP, GitHub, HTML), which read nothing but the Report.
//
// In a Go test:
//
//	func TestRestart(t *testing.T) {
//		smoke.Test(t, smoke.Options{Command: []string{"./server"}})
//	}
package smoke
