package machine

import (
	"io"
	"net"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Each measure returns what is to be done once, and what ends it. One that fails
// does nothing, and takes no time: a test that can't do it either says why.

func forkAndWait() (one, end func()) {
	return func() {
		// No descriptor may be made meanwhile that another child would get.
		syscall.ForkLock.Lock()
		pid := fork()
		syscall.ForkLock.Unlock()
		if pid > 0 {
			var ws unix.WaitStatus
			for {
				if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
					return
				}
			}
		}
	}, func() {}
}

// fork makes a child that exits at once, without anything of the runtime that
// may need another thread. CLONE_VFORK: the parent's thread waits for that.
//
//go:norace
//go:nosplit
func fork() int {
	pid, _, _ := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD)|syscall.CLONE_VFORK, 0, 0, 0, 0, 0)
	if pid == 0 {
		for {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	return int(pid)
}

// switchAndBack wakes another thread, which wakes this one. The descriptors are
// blocking ones, so that it is the kernel that switches, not Go.
func switchAndBack() (one, end func()) {
	var there, back [2]int
	if unix.Pipe2(there[:], unix.O_CLOEXEC) != nil {
		return func() {}, func() {}
	}
	if unix.Pipe2(back[:], unix.O_CLOEXEC) != nil {
		unix.Close(there[0])
		unix.Close(there[1])
		return func() {}, func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		b := make([]byte, 1)
		for again(func() (int, error) { return unix.Read(there[0], b) }) == 1 {
			again(func() (int, error) { return unix.Write(back[1], b) })
		}
	}()
	b := make([]byte, 1)
	return func() {
			again(func() (int, error) { return unix.Write(there[1], b) })
			again(func() (int, error) { return unix.Read(back[0], b) })
		}, func() {
			unix.Close(there[1])
			<-done
			for _, fd := range []int{there[0], back[0], back[1]} {
				unix.Close(fd)
			}
		}
}

// again makes a call until no signal interrupts it.
func again(call func() (int, error)) int {
	for {
		if n, err := call(); err != unix.EINTR {
			return n
		}
	}
}

func request() (one, end func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return func() {}, func() {}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 1)
				if _, err := io.ReadFull(c, b); err == nil {
					c.Write(b)
				}
			}()
		}
	}()
	return func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 1)
		if _, err := c.Write(b); err == nil {
			io.ReadFull(c, b)
		}
		// Not one port that waits in TIME_WAIT for each.
		c.(*net.TCPConn).SetLinger(0)
	}, func() { l.Close() }
}
