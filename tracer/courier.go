package tracer

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// Offsets in the scratch page, and the sizes of the structures put there
// (LP64: struct msghdr is 56 bytes, struct iovec 16, struct cmsghdr 16).
const (
	atPair    = 0
	atMsghdr  = 64
	atIovec   = 128
	atData    = 144
	atEvent   = 160
	atControl = 256

	msghdrLen  = 56
	cmsghdrLen = 16
)

// courierMax is how many descriptors one message carries: the kernel's
// SCM_MAX_FD is 253, unix(7).
const courierMax = 253

// courier brings duplicates of hupt's descriptors into the task's process, all
// close-on-exec, and returns their numbers there.
//
// The way is a socket pair made in the task, of which hupt takes an end by
// pidfd_getfd: it has no name that somebody else could connect to, is no
// inherited descriptor that a closefrom() in the program would lose, and
// leaves nothing over.
func (i *injection) courier(fds []int) ([]int, error) {
	if len(fds) > courierMax {
		return nil, fmt.Errorf("%d sockets at once; %d can be handed over", len(fds), courierMax)
	}
	if _, err := i.call("socketpair", unix.SYS_SOCKETPAIR, unix.AF_UNIX,
		unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0, i.scratch+atPair); err != nil {
		return nil, err
	}
	b, err := i.get(atPair, 8)
	if err != nil {
		return nil, err
	}
	theirs, ours := uint64(order.Uint32(b)), uint64(order.Uint32(b[4:]))
	defer i.closeAll([]int{int(theirs)})

	local, err := i.k.takeFD(int(ours))
	// The task's own copy goes before anything comes: in a full table it is
	// the place for what comes.
	i.call("close", unix.SYS_CLOSE, ours)
	if err != nil {
		return nil, err
	}
	defer unix.Close(local)
	if err := unix.Sendmsg(local, []byte{0}, unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != nil {
		return nil, os.NewSyscallError("sendmsg", err)
	}
	return i.receive(theirs, len(fds))
}

// replace puts a duplicate of hupt's descriptor local in place of descriptor fd
// of the process.
func (i *injection) replace(fd, local int, cloexec bool) error {
	brought, err := i.courier([]int{local})
	if errors.Is(err, unix.EMFILE) {
		lower, ok := raiseNoFile(i.k.proc.pid)
		if !ok {
			return i.replaceTight(fd, local, cloexec)
		}
		defer lower()
		brought, err = i.courier([]int{local})
	}
	if err != nil {
		return err
	}
	defer i.closeAll(brought)
	_, err = i.call("dup3", unix.SYS_DUP3, uint64(brought[0]), uint64(fd), cloexecFlag(cloexec))
	return err
}

// raiseNoFile gives a process that stands still room for the courier's
// descriptors beyond its RLIMIT_NOFILE, until lower is called (prlimit(2)). Up to
// the hard limit anybody may who may trace it; beyond, CAP_SYS_RESOURCE may.
func raiseNoFile(pid int) (lower func(), ok bool) {
	const room = 4
	var was unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was) != nil {
		return nil, false
	}
	more := unix.Rlimit{Cur: was.Cur + room, Max: max(was.Max, was.Cur+room)}
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, &more, nil) != nil {
		return nil, false
	}
	return func() { unix.Prlimit(pid, unix.RLIMIT_NOFILE, &was, nil) }, true
}

// replaceTight is replace for a process that is at its RLIMIT_NOFILE but for
// one descriptor. It gives up fd first, which makes room for the courier.
func (i *injection) replaceTight(fd, local int, cloexec bool) error {
	// Is there one? If not, nothing must be given up.
	spare, err := i.call("dup", unix.SYS_DUP, uint64(fd))
	if err != nil {
		return err
	}
	i.call("close", unix.SYS_CLOSE, uint64(spare))
	if _, err := i.call("close", unix.SYS_CLOSE, uint64(fd)); err != nil {
		return err
	}
	brought, err := i.courier([]int{local})
	if err != nil {
		return err
	}
	if brought[0] == fd {
		if !cloexec {
			_, err = i.call("fcntl", unix.SYS_FCNTL, uint64(fd), unix.F_SETFD, 0)
		}
		return err
	}
	defer i.closeAll(brought)
	_, err = i.call("dup3", unix.SYS_DUP3, uint64(brought[0]), uint64(fd), cloexecFlag(cloexec))
	return err
}

// receive makes the task take n descriptors out of its end.
func (i *injection) receive(sock uint64, n int) ([]int, error) {
	controlLen := unix.CmsgSpace(4 * n)
	iov := make([]byte, 16)
	order.PutUint64(iov, i.scratch+atData)
	order.PutUint64(iov[8:], 1)
	if _, err := i.put(atIovec, iov); err != nil {
		return nil, err
	}
	hdr := make([]byte, msghdrLen)
	order.PutUint64(hdr[16:], i.scratch+atIovec)
	order.PutUint64(hdr[24:], 1)
	order.PutUint64(hdr[32:], i.scratch+atControl)
	order.PutUint64(hdr[40:], uint64(controlLen))
	addr, err := i.put(atMsghdr, hdr)
	if err != nil {
		return nil, err
	}
	if _, err := i.call("recvmsg", unix.SYS_RECVMSG, sock, addr, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT); err != nil {
		return nil, err
	}
	control, err := i.get(atControl, controlLen)
	if err != nil {
		return nil, err
	}
	got := (int(order.Uint64(control)) - cmsghdrLen) / 4
	var out []int
	for f := 0; f < got && f < n; f++ {
		out = append(out, int(order.Uint32(control[cmsghdrLen+4*f:])))
	}
	if len(out) < n {
		i.closeAll(out)
		return nil, fmt.Errorf("the program's descriptor table is full (RLIMIT_NOFILE): %w", unix.EMFILE)
	}
	return out, nil
}

func (i *injection) closeAll(fds []int) {
	for _, fd := range fds {
		if i.stuck {
			i.over = append(i.over, fd)
			continue
		}
		i.call("close", unix.SYS_CLOSE, uint64(fd))
	}
}

// takeFD duplicates descriptor fd of process pid into hupt (pidfd_getfd(2),
// Linux 5.6). The duplicate is close-on-exec.
func takeFD(pid, fd int) (int, error) { return takeFDOf(pid, fdtable.Reader(pid), fd) }

// takeFD is takeFD by the task itself, which stands still: its table is there
// whatever becomes of the others, and is its own if it unshared it. Before
// Linux 6.9 that can be done by the first thread only.
func (k *task) takeFD(fd int) (int, error) {
	n, err := takeFDOf(k.proc.pid, k.tid, fd)
	if errors.Is(err, unix.EINVAL) && k.tid != k.proc.pid {
		n, err = takeFD(k.proc.pid, fd)
	}
	return n, err
}

func takeFDOf(pid, tid, fd int) (int, error) {
	flags := 0
	if tid != pid {
		flags = unix.PIDFD_THREAD // Linux 6.9
	}
	p, err := unix.PidfdOpen(tid, flags)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(p)
	n, err := unix.PidfdGetfd(p, fd, 0)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_getfd", err)
	}
	return n, nil
}

// closeDuplicate closes a descriptor that may be a connection's. If the program
// has closed it meanwhile, with SO_LINGER (socket(7)), this is the close that
// waits until everything was sent; and whoever closes it must not. A program that
// sets it just now makes the tracer's thread wait until the watchdog looks.
func closeDuplicate(fd int) {
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LINGER); err != nil || on == 0 {
		unix.Close(fd)
		return
	}
	closed := make(chan struct{})
	go func() {
		CloseForeign(fd)
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(time.Millisecond):
	}
}

// CloseForeign closes a descriptor of a file that somebody else made. A close that
// lingers is broken off after a moment, by the signal that the runtime uses for
// itself: what is to be sent is sent all the same, as without SO_LINGER.
func CloseForeign(fd int) {
	const moment = 50 * time.Millisecond
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()
	closed := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-closed:
				return
			case <-time.After(moment):
				unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
			}
		}
	}()
	unix.Close(fd)
	close(closed)
	<-over // it must not hit what the thread does next
}
