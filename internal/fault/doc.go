// Package fault lets a test make hupt slow, or make it fail, at named points:
// where a race is, and where a panic would be. Only a binary that is built with
// `-tags fault` has any of it; in all others Point is empty.
//
// What happens is in the environment variable HUPT_FAULT, words with spaces
// between them:
//
//	launch=300ms        each pass of that point takes so long
//	launch=~300ms       …a random time up to that
//	loop=panic?PATH     it panics at the first pass at which PATH exists, once
//	stop=panic*9?PATH   …at nine passes
//	start=mark?PATH     it makes an empty file PATH
package fault
