package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Restart implements Restarter. With Config.Rolling the processes are
// restarted one after the other, until one fails, which is rolled back; else
// all at once, each by itself.
func (p *Pool) Restart(o RestartOptions) (events <-chan Event, cancel func(), err error) {
	if err := o.Validate(); err != nil {
		return nil, func() {}, err
	}
	err = error(ErrStopping)
	p.call(func() { events, cancel, err = p.begin(o) })
	if err != nil {
		return nil, func() {}, err
	}
	return events, cancel, nil
}

// busy says why nothing can be begun with the pool; nil if something can.
func (p *Pool) busy() error {
	switch {
	case p.stopping || len(p.staying()) == 0:
		return ErrStopping
	case p.work != "":
		return fmt.Errorf("%w: the instance is %s", ErrBusy, p.work)
	}
	return nil
}

// staying is the members that are not on their way out, as scaling has them.
func (p *Pool) staying() []*member {
	return slices.DeleteFunc(slices.Clone(p.members), func(m *member) bool { return m.retiring })
}

func (p *Pool) begin(o RestartOptions) (<-chan Event, func(), error) {
	none := func() {}
	if err := p.busy(); err != nil {
		return nil, none, err
	}
	next := p.program.changed(o)
	if next != p.program {
		if err := next.check(); err != nil {
			return nil, none, err
		}
	}
	rolling := p.cfg.Rolling
	if o.Rolling != nil {
		rolling = *o.Rolling
	}
	p.work = "restarting"
	p.systemd.reloading()
	sub := p.hub.subscribe()
	members := p.staying()
	p.panics.beside(func() { p.restartAll(members, o, rolling, sub) })
	events, cancel := follow(&p.hub, sub)
	return events, cancel, nil
}

// restartAll restarts the members, and ends sub when the old generations have
// gone.
func (p *Pool) restartAll(members []*member, o RestartOptions, rolling bool, sub *subscriber) {
	began := time.Now()
	var drains, running sync.WaitGroup
	failures, letGo := make([]error, len(members)), make([][]string, len(members))
	for n, m := range members {
		running.Go(func() { letGo[n], failures[n] = m.restart(o, &drains) })
		if !rolling {
			continue
		}
		if running.Wait(); failures[n] != nil {
			break
		}
	}
	running.Wait()
	e := Event{Kind: EventConfirmed, After: time.Since(began).Seconds(), Processes: len(members), LetGo: union(letGo)}
	var why []string
	for n, err := range failures {
		if err != nil {
			why = append(why, fmt.Sprintf("process %d: %v", members[n].number, err))
		}
	}
	if len(why) > 0 {
		e.Kind, e.Processes, e.LetGo, e.Source, e.Reason = EventFailed, 0, nil, FailedRestart, strings.Join(why, "; ")
	}
	var before *program
	if o.Rollback {
		before = programOf(members)
	}
	p.call(func() {
		defer p.free()
		if e.Kind == EventConfirmed {
			p.restarts++
			p.systemd.reloaded(fmt.Sprintf("%d processes restarted", len(members)))
			if p.program = p.program.changed(o); before != nil {
				p.program = before
			}
		} else {
			p.rollbacks++
			p.systemd.reloaded("restart failed: " + e.Reason)
		}
		p.publish(e)
	})
	drains.Wait()
	p.hub.end(sub)
}

// free: what was done to all processes is over, and the restart that a signal
// asked for meanwhile begins.
func (p *Pool) free() {
	p.work = ""
	if p.again && !p.stopping {
		p.again = false
		_, cancel, _ := p.begin(RestartOptions{})
		cancel()
	}
}

// restart restarts one member and waits for the decision, and for which addresses
// were let go. Its drain goes on.
func (m *member) restart(o RestartOptions, drains *sync.WaitGroup) (letGo []string, err error) {
	select {
	case <-m.started: // a pool may be restarted before the last of it is there
	case <-m.ended:
	}
	events, cancel, err := m.Supervisor.Restart(o)
	if err != nil {
		return nil, err
	}
	type decision struct {
		letGo []string
		err   error
	}
	decided := make(chan decision, 1)
	decide := func(letGo []string, err error) {
		select {
		case decided <- decision{letGo, err}:
		default: // it was, and what comes is about another restart
		}
	}
	drains.Go(func() {
		defer cancel()
		begun := 0
		for e := range events {
			switch {
			case e.Kind == EventStarting && begun == 0:
				begun = e.Generation
			case e.Kind == EventConfirmed && e.Generation == begun:
				decide(e.LetGo, nil)
			case e.Kind == EventFailed:
				decide(nil, errors.New(e.Reason))
			}
		}
		decide(nil, errors.New("it ended"))
	})
	d := <-decided
	return d.letGo, d.err
}

// programOf is the program that the members execute. Any of them may have ended.
func programOf(members []*member) (p *program) {
	for _, m := range members {
		if m.call(func() { p = m.program }) {
			return p
		}
	}
	return nil
}

// Scale makes the pool have n processes, and tells of it until that is so. A
// process that is to go finishes its connections first.
func (p *Pool) Scale(n int) (events <-chan Event, cancel func(), err error) {
	if n < 1 || n > MaxProcesses {
		return nil, func() {}, badOptions("the number of processes must be from 1 to %d, not %d", MaxProcesses, n)
	}
	err = error(ErrStopping)
	p.call(func() {
		if err = p.busy(); err != nil {
			return
		}
		p.work = "scaling"
		sub := p.hub.subscribe()
		events, cancel = follow(&p.hub, sub)
		p.panics.beside(func() { p.scale(n, sub) })
	})
	if err != nil {
		return nil, func() {}, err
	}
	return events, cancel, nil
}

func (p *Pool) scale(n int, sub *subscriber) {
	began := time.Now()
	var born, going []*member
	p.call(func() {
		stay := p.staying()
		for range n - len(stay) {
			born = append(born, p.grow())
		}
		if n < len(stay) {
			going = stay[n:]
		}
		for _, m := range going {
			m.retiring = true
		}
	})
	err := awaitAll(born, p.cfg.ReadyTimeout)
	if err != nil { // what was there stays as it was
		for _, m := range born {
			p.call(func() { m.retiring = true })
			m.retire()
		}
		for _, m := range born {
			<-m.ended
		}
	}
	for _, m := range going {
		m.retire()
	}
	p.call(func() {
		defer p.free()
		if err != nil {
			p.publish(Event{Kind: EventFailed, Source: FailedScale, Reason: fmt.Sprintf("scale to %d: %v", n, err)})
			return
		}
		p.cfg.Multi = n
		p.publish(Event{Kind: EventScaled, Processes: n, After: time.Since(began).Seconds()})
	})
	for _, m := range going {
		<-m.ended
	}
	p.hub.end(sub)
}

// awaitAll waits until members serve.
func awaitAll(members []*member, timeout time.Duration) error {
	late := time.After(timeout)
	for _, m := range members {
		select {
		case <-m.serves:
		case <-m.ended:
			return fmt.Errorf("process %d ended", m.number)
		case <-late:
			return fmt.Errorf("process %d does not serve after %v", m.number, timeout)
		}
	}
	return nil
}
