package generation

import (
	"testing"
	"time"
)

// machine is one that went through events.
func machine(events ...Event) *Machine {
	m := New(Policy{ReadyTimeout: time.Minute, DrainTimeout: time.Minute, KillAfter: time.Minute})
	for _, e := range events {
		m.Step(e, time.Time{})
	}
	return m
}

func TestBusyAndState(t *testing.T) {
	events := []Event{RestartWanted{N: 1}, Launched{N: 1}}
	for _, c := range []struct {
		event       Event
		busy, state string
		serving     int
	}{
		{Progressed{1, Progress{Listening: 1, Waiting: 1}}, "", "running", 1},
		{RestartWanted{N: 2}, "generation 2 is starting", "restarting", 1},
		{Launched{N: 2, Offered: 1}, "generation 2 is starting", "restarting", 1},
		{Progressed{2, Progress{Offered: 1, Adopted: 1, Listening: 1, Waiting: 1}}, "generation 2 is taking over", "restarting", 1},
		{Quiesced{1}, "generation 2 is on probation", "restarting", 2},
		{Exited{N: 2, Main: true, Last: true}, "generation 2 is being rolled back", "restarting", 0},
		{Resumed{1}, "", "running", 1},
		{StopWanted{Signal: 15}, "", "stopping", 1},
	} {
		events = append(events, c.event)
		m := machine(events...)
		if m.Busy() != c.busy || m.State() != c.state || m.Serving() != c.serving {
			t.Errorf("after %T: %q, %q, generation %d serves", c.event, m.Busy(), m.State(), m.Serving())
		}
	}
	m := machine(events[:len(events)-3]...)
	if got := m.Gen(1).Phase.String() + ", " + m.Gen(2).Phase.String(); got != "draining, serving" {
		t.Error(got)
	}
	if len(m.Gens()) != 2 || m.Gen(3) != nil {
		t.Error(m.Gens())
	}
}

func TestWhyNotReady(t *testing.T) {
	for _, c := range []struct {
		p    Progress
		want string
	}{
		{Progress{}, "it listens on nothing"},
		{Progress{Offered: 1}, "it does not listen on the socket that it was to take over"},
		{Progress{Offered: 3, Adopted: 1}, "it listens on none of the 3 sockets that it was to take over"},
		{Progress{Offered: 2, Adopted: 1, Listening: 1, Waiting: 0}, "it listens, but does not wait for connections"},
		{Progress{Offered: 2, Adopted: 1, Listening: 1, Waiting: 1}, "it took over 1 of the 2 sockets that it was to"},
		{Progress{Offered: 2, Adopted: 2, Listening: 2, Waiting: 1}, "it waits for connections on 1 of the 2 sockets that it listens on"},
	} {
		s := &step{Machine: New(Policy{}), now: time.Time{}.Add(1234 * time.Millisecond)}
		g := &Gen{Progress: c.p, lastFailed: "bind [::]:80: permission denied"}
		want := "it was not ready after 1.23 s: " + c.want + "; its last failed call: bind [::]:80: permission denied"
		if got := s.notReady(g); got != want {
			t.Errorf("%+v: %s", c.p, got)
		}
	}
}
