//go:build !fault

package fault

// Point is where something may go wrong under test.
func Point(string) {}
