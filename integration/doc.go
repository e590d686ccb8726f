// Package integration runs real servers under hupt, restarts them under real
// clients and counts what was lost. It has nothing but tests: see
// docs/testing.md for what they need and how to run a part of them.
package integration
