package doctor

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"hupt/twin"
)

// standIns finds out what stands in for a listener in a version that is to accept no
// more: a twin of it, or something less.
func standIns() Check {
	tcp := make([]byte, unix.SizeofSockaddrInet4)
	binary.NativeEndian.PutUint16(tcp, unix.AF_INET)
	binary.BigEndian.PutUint16(tcp[2:], 80) // which nobody sees there
	path := append(make([]byte, 2), "/run/hupt-doctor\x00"...)
	binary.NativeEndian.PutUint16(path, unix.AF_UNIX)
	twins, err := twin.Make([]twin.Request{
		{Domain: unix.AF_INET, Type: unix.SOCK_STREAM, Address: tcp, Backlog: 1},
		{Domain: unix.AF_UNIX, Type: unix.SOCK_STREAM, Address: path, Backlog: 1},
	}, startTwins)
	for _, t := range twins {
		if t != nil {
			t.Close()
			unix.Close(t.FD)
		}
	}
	return judgeStandIns(twins[0] != nil, twins[1] != nil, err)
}

func judgeStandIns(tcp, path bool, err error) Check {
	c := Check{Name: "stand-ins", State: OK, Found: "twins, in namespaces of their own",
		Means: "a version that drains can't tell what stands in for its listener"}
	if tcp && path {
		return c
	}
	what := "listeners"
	switch {
	case tcp:
		what = "listeners with a path"
	case path:
		what = "TCP listeners"
	}
	c.State, c.Found = Warn, fmt.Sprintf("no twins of %s: %v", what, err)
	c.Means = "a version that drains and asks its listener for its name sees an unnamed Unix socket; most never do"
	c.Do = "allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0), or give hupt CAP_SYS_ADMIN"
	return c
}

func startTwins(c twin.Child) (kill func(), err error) {
	fd, err := unix.FcntlInt(uintptr(c.Socket), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	sock := os.NewFile(uintptr(fd), "twins")
	defer sock.Close()
	cmd := &exec.Cmd{Path: c.Path, Args: c.Argv, Env: c.Env, SysProcAttr: c.Sys, ExtraFiles: []*os.File{sock}}
	cmd.SysProcAttr.Pdeathsig = 0 // it belongs to the thread that forks, which may end
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go cmd.Wait()
	return func() { cmd.Process.Kill() }, nil
}
