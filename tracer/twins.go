package tracer

import (
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hupt/twin"
)

// twinPatience is how long a quiesce waits for twins, which takes some 30 ms from the
// launch of the next generation on.
const twinPatience = 2 * time.Second

// making is a twin that is being made for a held socket, and that a quiesce may take.
type making struct {
	done chan struct{} // closed once it is over
	as   standing      // what the twin is to be like

	mu      sync.Mutex
	twin    *twin.Twin // nil: it can't be had, was taken, or is not there yet
	dropped bool
}

func (m *making) finish(w *twin.Twin) {
	m.mu.Lock()
	if m.twin = w; m.dropped {
		m.close()
	}
	m.mu.Unlock()
	close(m.done)
}

// take is the twin, if it is there: the caller's from now on.
func (m *making) take() (w *twin.Twin) {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w, m.twin = m.twin, nil
	return w
}

// drop says that nobody will take it.
func (m *making) drop() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped = true
	m.close()
}

func (m *making) close() {
	if m.twin != nil {
		unix.Close(m.twin.FD)
		m.twin.Close()
		m.twin = nil
	}
}

// MakeTwins begins to make a twin for each of the held sockets, to stand in for it in the
// generation that has it.
func (t *Tracer) MakeTwins(held []*Held) {
	var requests []twin.Request
	var makings []*making
	t.Do(func() {
		for _, h := range held {
			if h.twin != nil || h.FD < 0 || h.Name.udp() {
				continue // of UDP sockets, see datagramDummy
			}
			r, err := h.twinRequest()
			as, err2 := standingOf(h.FD)
			if err != nil || err2 != nil {
				continue
			}
			h.twin = &making{done: make(chan struct{}), as: as}
			requests, makings = append(requests, r), append(makings, h.twin)
		}
	})
	if len(requests) == 0 {
		return
	}
	go func() {
		twins, _ := twin.Make(requests, t.startTwins) // where there are none: newDummy
		for n, m := range makings {
			if twins[n] != nil {
				m.as.give(twins[n].FD)
			}
			m.finish(twins[n])
		}
	}()
}

// awaitTwins waits until those are there that can be had, but not for ever.
func (t *Tracer) awaitTwins(held []*Held) {
	t.MakeTwins(held)
	var makings []*making
	t.Do(func() {
		for _, h := range held {
			if h.twin != nil {
				makings = append(makings, h.twin)
			}
		}
	})
	late := time.After(twinPatience)
	for _, m := range makings {
		select {
		case <-m.done:
		case <-late:
			return
		}
	}
}

// startTwins starts the child that makes twins.
func (t *Tracer) startTwins(c twin.Child) (kill func(), err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &syscall.ProcAttr{Env: c.Env, Sys: c.Sys,
		Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), uintptr(c.Socket)}}
	return t.startChild(c.Path, c.Argv, attr, func(unix.WaitStatus) {}, func(pid int) int { return pid })
}

func (h *Held) twinRequest() (r twin.Request, err error) {
	for option, to := range map[int]*int{unix.SO_DOMAIN: &r.Domain, unix.SO_TYPE: &r.Type, unix.SO_PROTOCOL: &r.Protocol} {
		if *to, err = unix.GetsockoptInt(h.FD, unix.SOL_SOCKET, option); err != nil {
			return r, os.NewSyscallError("getsockopt", err)
		}
	}
	if r.Address, err = rawSockname(h.FD); err != nil {
		return r, err
	}
	if r.Backlog = h.backlog; r.Type == unix.SOCK_DGRAM {
		r.Backlog = -1
	}
	for o, value := range readSettings(h.FD, append([]option{{unix.SOL_SOCKET, unix.SO_REUSEPORT}}, bindOptions...)) {
		r.Options = append(r.Options, twin.Option{Level: o.level, Name: o.name, Value: value})
	}
	return r, nil
}

// rawSockname is a socket's address as the kernel gives it.
func rawSockname(fd int) ([]byte, error) {
	b := make([]byte, unix.SizeofSockaddrAny)
	n := uint32(len(b))
	if _, _, e := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n))); e != 0 {
		return nil, os.NewSyscallError("getsockname", e)
	}
	return b[:min(int(n), len(b))], nil
}
