package doctor

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func procFS() Check {
	var fs unix.Statfs_t
	if err := unix.Statfs("/proc", &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return Check{
			Name: "proc", State: Fail, Found: "/proc is not mounted", Means: "hupt reads the program's sockets there",
			Do: "mount -t proc proc /proc",
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo") // without it no option is seen
	return procOptions(string(mounts))
}

// procOptions judges the options of /proc's last mount: see proc(5) for
// hidepid, and proc_pid_mountinfo(5) for where they stand.
func procOptions(mountinfo string) Check {
	c := Check{Name: "proc", State: OK, Found: "mounted", Means: "hupt reads the program's sockets there"}
	hidepid, subset := "", ""
	for line := range strings.Lines(mountinfo) {
		mount, super, ok := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if !ok || len(fields) < 5 || fields[4] != "/proc" {
			continue
		}
		hidepid, subset = "", ""
		for _, word := range strings.Fields(super) {
			for option := range strings.SplitSeq(word, ",") {
				switch key, value, _ := strings.Cut(option, "="); key {
				case "hidepid":
					hidepid = value
				case "subset":
					subset = value
				}
			}
		}
	}
	switch hidepid {
	case "", "0", "off", "4", "ptraceable":
	default:
		c.State, c.Found = Warn, "mounted with hidepid="+hidepid
		c.Means = "hupt sees its own user's processes, but not those of a program that changes its user, unless hupt is root"
		c.Do = "run hupt as root, or: mount -o remount,hidepid=0 /proc"
	}
	if subset == "pid" {
		c.State, c.Found = Warn, c.Found+", subset=pid"
		c.Means += "; limits of the kernel in /proc/sys can't be read"
	}
	return c
}

func sockDiag() Check {
	c := Check{Name: "sock_diag", State: OK, Found: "a dump of TCP sockets works", Means: "hupt can count the connections that a drain has left"}
	if err := dumpTCP(); err != nil {
		c.State, c.Found, c.Means = Fail, err.Error(), "hupt can't count the connections that a drain has left"
		c.Do = "load the kernel module tcp_diag, and let the sandbox pass netlink sockets"
	}
	return c
}

// dumpTCP asks for the listening TCP sockets over netlink: see sock_diag(7).
func dumpTCP() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	defer unix.Close(fd)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	const listening = 1 << 10 // TCP_LISTEN
	request := struct {
		header           unix.NlMsghdr
		family, protocol uint8
		ext, pad         uint8
		states           uint32
		id               [48]byte // struct inet_diag_sockid
	}{family: unix.AF_INET, protocol: unix.IPPROTO_TCP, states: listening}
	request.header = unix.NlMsghdr{
		Len:   uint32(unsafe.Sizeof(request)),
		Type:  unix.SOCK_DIAG_BY_FAMILY,
		Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP,
	}
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&request)), unsafe.Sizeof(request))
	if err := unix.Sendto(fd, bytes, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sock_diag request: %w", err)
	}
	buffer := make([]byte, 32<<10)
	n, _, err := unix.Recvfrom(fd, buffer, 0)
	if err != nil {
		return fmt.Errorf("sock_diag answer: %w", err)
	}
	if n < unix.SizeofNlMsghdr {
		return fmt.Errorf("sock_diag answer of %d bytes", n)
	}
	header := (*unix.NlMsghdr)(unsafe.Pointer(&buffer[0]))
	if header.Type == unix.NLMSG_ERROR && n >= unix.SizeofNlMsghdr+4 {
		errno := *(*int32)(unsafe.Pointer(&buffer[unix.SizeofNlMsghdr]))
		return fmt.Errorf("sock_diag: %w", unix.Errno(-errno))
	}
	return nil
}

func container() Check {
	c := Check{Name: "container", State: OK, Found: "none seen", Means: "nothing but the above restricts hupt"}
	kind := ""
	for path, name := range map[string]string{"/.dockerenv": "docker", "/run/.containerenv": "podman"} {
		if _, err := os.Lstat(path); err == nil {
			kind = name
		}
	}
	if env := os.Getenv("container"); kind == "" && env != "" {
		kind = env // systemd.io/CONTAINER_INTERFACE
	}
	if kind == "" {
		return c
	}
	c.Found = kind
	c.Means = "its default profile allows ptrace, but pidfd_getfd only with CAP_SYS_PTRACE; the above says whether it works"
	c.Do = "if pidfd_getfd fails: docker run --cap-add SYS_PTRACE"
	return c
}
