package main

import (
	"errors"

	"hupt/supervisor"
)

// newInstance makes the supervisor; tests put a fake in its place.
var newInstance = func(supervisor.Config) (instance, error) {
	return nil, errors.New("not built yet")
}
