package twin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// limit is how long the child may take: it is killed then, and there are no twins.
const limit = 5 * time.Second

// errNone: the child ended, or was killed, before it said so much.
var errNone = errors.New("the child that makes twins ended too early")

// Make makes a twin for each request; those that can't be had are nil, and err says why
// the first of them. start starts the child, by a function that forks in the caller's way,
// and kill ends it if it hangs.
func Make(requests []Request, start func(c Child) (kill func(), err error)) (twins []*Twin, err error) {
	twins = make([]*Twin, len(requests))
	if len(requests) == 0 {
		return twins, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return twins, os.NewSyscallError("socketpair", err)
	}
	ours := pair[0]
	defer unix.Close(ours)
	kill, err := start(newChild(pair[1]))
	unix.Close(pair[1])
	if err != nil {
		return twins, err
	}
	defer time.AfterFunc(limit, kill).Stop()
	return twins, converse(ours, requests, twins)
}

func converse(sock int, requests []Request, twins []*Twin) (first error) {
	reach := make(map[connectors]*sockets)
	spaces := make([]int, len(requests))
	for n, r := range requests[:min(len(requests), most)] {
		b, err := json.Marshal(r)
		if err == nil {
			err = unix.Sendmsg(sock, b, nil, nil, unix.MSG_NOSIGNAL)
		}
		var m message
		var fds []int
		if err == nil {
			m, fds, err = receive(sock)
		}
		if err == nil && m.Answer == nil {
			err = errNone
		}
		if err != nil {
			closeAll(fds)
			return errors.Join(first, err)
		}
		if m.Answer.Error != "" || len(fds) == 0 {
			closeAll(fds)
			if first == nil {
				first = errors.New(m.Answer.Error)
			}
			continue
		}
		t := &Twin{FD: fds[0], kind: r.Type, name: r.Address, file: -1}
		if len(fds) > 1 {
			t.file = fds[1]
			closeAll(fds[2:])
		}
		twins[n], spaces[n] = t, m.Answer.Space
	}
	if len(requests) > most {
		first = errors.Join(first, fmt.Errorf("no more than %d at once", most))
	}
	unix.Shutdown(sock, unix.SHUT_WR)
	for {
		m, fds, err := receive(sock)
		if err != nil || m.Connectors == nil {
			closeAll(fds)
			break
		}
		reach[*m.Connectors] = &sockets{domain: m.Connectors.Domain, fds: fds}
	}
	for n, t := range twins {
		if t == nil || t.file >= 0 {
			continue
		}
		if t.reach = reach[connectors{spaces[n], requests[n].Domain, t.kind}]; t.reach != nil {
			t.reach.users++
		}
	}
	for _, s := range reach {
		if s.users == 0 {
			closeAll(s.fds)
		}
	}
	return first
}

// receive reads one message. The child is hupt's own program, and yet nothing of its
// is read without a bound.
func receive(sock int) (m message, fds []int, err error) {
	b, rights := make([]byte, messageSize), make([]byte, unix.CmsgSpace(4*64))
	n, oobn, _, _, err := unix.Recvmsg(sock, b, rights, unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		n, oobn, _, _, err = unix.Recvmsg(sock, b, rights, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return m, nil, os.NewSyscallError("recvmsg", err)
	}
	if n == 0 {
		return m, nil, errNone
	}
	messages, err := unix.ParseSocketControlMessage(rights[:oobn])
	if err != nil {
		return m, nil, err
	}
	for _, c := range messages {
		got, err := unix.ParseUnixRights(&c)
		if err == nil {
			fds = append(fds, got...)
		}
	}
	if err := json.Unmarshal(b[:n], &m); err != nil {
		closeAll(fds)
		return m, nil, err
	}
	return m, fds, nil
}

// Child is how the child is to be started: of the same binary, with Socket as its one
// more descriptor.
type Child struct {
	Path   string
	Argv   []string
	Env    []string
	Socket int
	Sys    *syscall.SysProcAttr
}

// newChild is one that is in a user namespace of its own, as its root, unless this process
// may make the others without.
func newChild(sock int) Child {
	c := Child{Path: "/proc/self/exe", Argv: []string{arg0, strconv.Itoa(childSocket)},
		Env: []string{"GORACE=atexit_sleep_ms=0"}, Socket: sock, Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	if !mayUnshare() {
		c.Sys.Cloneflags = unix.CLONE_NEWUSER
		c.Sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		c.Sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return c
}

// childSocket is the number of the socket in the child, after standard input, output and
// error.
const childSocket = 3

// mayUnshare reports whether this process has CAP_SYS_ADMIN (unshare(2)).
func mayUnshare() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
