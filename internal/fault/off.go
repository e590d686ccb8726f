//go:build !fault

package fault

// Point is where something may go wrong under test.
func Point(string) {}

// Hide is an environment without what says which faults there are to be.
func Hide(environ []string) []string { return environ }
