package main

import (
	"hupt/supervisor"
)

// newInstance makes the supervisor, or the pool of them; tests put a fake in its
// place.
var newInstance = func(c supervisor.Config) (instance, error) {
	if c.Multi > 0 {
		p, err := supervisor.NewPool(c)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	s, err := supervisor.New(c)
	if err != nil {
		return nil, err // not s: a nil *Supervisor is no nil instance
	}
	return s, nil
}
