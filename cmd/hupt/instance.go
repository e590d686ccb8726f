package main

import (
	"hupt/supervisor"
)

// newInstance makes the supervisor; tests put a fake in its place.
var newInstance = func(c supervisor.Config) (instance, error) {
	s, err := supervisor.New(c)
	if err != nil {
		return nil, err // not s: a nil *Supervisor is no nil instance
	}
	return s, nil
}
