package twin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// arg0 is argv[0] of a hupt that is such a child.
const arg0 = "hupt: twins"

// Requested reports whether this process was started to make twins, rather than to be
// hupt.
func Requested() bool { return len(os.Args) > 1 && os.Args[0] == arg0 }

// Main is the whole life of such a process: requests come, one a message, answers go,
// and it ends. It does not return.
func Main() {
	runtime.LockOSThread() // whose namespaces are changed
	fd, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(125)
	}
	m := maker{sock: fd}
	if m.proc, err = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		err = m.work()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", arg0, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// maker is the child.
type maker struct {
	sock   int
	proc   int      // /proc, which its root is without
	rooted bool     // its root is an empty file system of its own
	spaces []*space // network namespaces
	in     int      // in which of them it is
}

// space is a network namespace of the child's.
type space struct {
	fd    int             // of the namespace
	has   map[string]bool // ports, and abstract names, that are bound there
	reach map[connectors]bool
}

// messageSize bounds one message. A request has some options of a few bytes.
const messageSize = 32 << 10

func (m *maker) work() error {
	b := make([]byte, messageSize)
	for {
		n, err := unix.Read(m.sock, b)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return m.sendConnectors()
		}
		var r Request
		if err := json.Unmarshal(b[:n], &r); err != nil {
			return err
		}
		var a answer
		fds, space, err := m.make(r)
		if a.Space = space; err != nil {
			a.Error = err.Error()
		}
		if err := m.send(message{Answer: &a}, fds); err != nil {
			return err
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

func (m *maker) send(what message, fds []int) error {
	b, err := json.Marshal(what)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(m.sock, b, rights, nil, unix.MSG_NOSIGNAL)
}

// sendConnectors makes and sends the sockets by which each namespace's twins are reached.
func (m *maker) sendConnectors() error {
	for n, s := range m.spaces {
		for c := range s.reach {
			if err := m.enter(n); err != nil {
				return err
			}
			var fds []int
			for range connectorsOf(c.Domain) {
				fd, err := unix.Socket(c.Domain, c.Type|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
				if err != nil {
					return err
				}
				fds = append(fds, fd)
			}
			c.Space = n
			if err := m.send(message{Connectors: &c}, fds); err != nil {
				return err
			}
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
	}
	return nil
}

// make makes one twin. The second descriptor is that of its file, if it has one.
func (m *maker) make(r Request) (fds []int, space int, err error) {
	name, ip, err := nameOf(r)
	if err != nil {
		return nil, 0, err
	}
	if space, err = m.spaceFor(name); err != nil {
		return nil, 0, err
	}
	if ip != nil {
		if err := addAddress(ip); err != nil {
			return nil, 0, err
		}
	}
	fd, err := unix.Socket(r.Domain, r.Type|unix.SOCK_CLOEXEC, r.Protocol)
	if err != nil {
		return nil, 0, os.NewSyscallError("socket", err)
	}
	fail := func(what string, err error) ([]int, int, error) {
		unix.Close(fd)
		return nil, 0, os.NewSyscallError(what, err)
	}
	for _, o := range r.Options {
		if len(o.Value) > 0 {
			setsockopt(fd, o)
		}
	}
	file := pathOf(r)
	if file != "" {
		if file, err = m.placeFor(file); err != nil {
			return fail("make a place for the path", err)
		}
	}
	if len(r.Address) == 0 {
		return fail("bind", unix.EINVAL)
	}
	if _, _, e := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&r.Address[0])), uintptr(len(r.Address))); e != 0 {
		return fail("bind", e)
	}
	if r.Backlog >= 0 {
		if err := unix.Listen(fd, r.Backlog); err != nil {
			return fail("listen", err)
		}
	}
	fds = []int{fd}
	if file != "" {
		at, err := unix.Open(file, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			return fail("open", err)
		}
		fds = append(fds, at)
	} else if r.Backlog >= 0 {
		m.spaces[space].reach[connectors{Domain: r.Domain, Type: r.Type}] = true
	}
	return fds, space, nil
}

func setsockopt(fd int, o Option) {
	unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(o.Level), uintptr(o.Name),
		uintptr(unsafe.Pointer(&o.Value[0])), uintptr(len(o.Value)), 0)
}

// pathOf is the path in a Unix address; empty: it has none.
func pathOf(r Request) string {
	const before = 2 // sa_family_t
	if r.Domain != unix.AF_UNIX || len(r.Address) <= before || r.Address[before] == 0 {
		return ""
	}
	return unix.ByteSliceToString(r.Address[before:])
}

// nameOf is what no two sockets of a namespace may have in common, and the internet
// address that it must have. Two of one port would be a group (SO_REUSEPORT), of which
// nobody can tell which one a client reaches.
func nameOf(r Request) (name string, ip net.IP, err error) {
	switch {
	case r.Domain == unix.AF_INET && len(r.Address) >= 8:
		ip = net.IP(r.Address[4:8])
	case r.Domain == unix.AF_INET6 && len(r.Address) >= 24:
		ip = net.IP(r.Address[8:24])
		if ip.IsLinkLocalUnicast() {
			return "", nil, errors.New("a link's own address")
		}
	case r.Domain == unix.AF_UNIX:
		return string(r.Address), nil, nil
	default:
		return "", nil, fmt.Errorf("family %d", r.Domain)
	}
	if ip.IsUnspecified() || ip.IsLoopback() && ip.To4() != nil || ip.Equal(net.IPv6loopback) || ip.IsMulticast() {
		ip = nil // it is there, or can't be
	}
	return fmt.Sprint(r.Domain, r.Address[2:4]), ip, nil
}

// spaceFor enters a network namespace in which the name is free.
func (m *maker) spaceFor(name string) (int, error) {
	for n, s := range m.spaces {
		if !s.has[name] {
			s.has[name] = true
			return n, m.enter(n)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return 0, os.NewSyscallError("unshare(CLONE_NEWNET)", err)
	}
	fd, err := unix.Openat(m.proc, "thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("/proc/thread-self/ns/net: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return 0, fmt.Errorf("set the loopback up: %w", err)
	}
	m.spaces = append(m.spaces, &space{fd: fd, has: map[string]bool{name: true}, reach: make(map[connectors]bool)})
	m.in = len(m.spaces) - 1
	return m.in, nil
}

func (m *maker) enter(n int) error {
	if m.in == n {
		return nil
	}
	if err := unix.Setns(m.spaces[n].fd, unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("setns", err)
	}
	m.in = n
	return nil
}

// addAddress gives the loopback of the namespace an address.
func addAddress(ip net.IP) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	bits := 128
	if ip.To4() != nil {
		ip, bits = ip.To4(), 32
	}
	err = netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)}, Flags: unix.IFA_F_NODAD})
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

// placeFor makes the directories of a path, in an empty file system that only the child
// sees, and is where the path leads then.
func (m *maker) placeFor(file string) (string, error) {
	const deep = "/here/1/2/3/4/5/6/7/8/9" // whatever .. a relative path begins with
	if !m.rooted {
		if err := ownRoot(); err != nil {
			return "", err
		}
		m.rooted = true
		if err := os.MkdirAll(deep, 0o755); err != nil {
			return "", err
		}
	}
	if err := os.Chdir(deep); err != nil {
		return "", err
	}
	if err := os.MkdirAll(path.Dir(file), 0o755); err != nil {
		return "", err
	}
	os.Remove(file)
	return file, nil
}

// ownRoot makes an empty file system this thread's root, in a mount namespace of its own.
func ownRoot() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare(CLONE_NEWNS)", err)
	}
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return os.NewSyscallError("fsconfig", err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(root)
	if err := unix.Fchdir(root); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	return os.NewSyscallError("chroot", unix.Chroot("."))
}
