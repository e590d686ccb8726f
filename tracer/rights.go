package tracer

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A program's processes need not have the same rights: a master is root, its
// workers are not. A bind gets a held socket only if its task could have bound
// that itself. The kernel's rule for who may share an address (SO_REUSEPORT,
// socket(7)) is that both sockets are of one owner, which is the effective user id
// of whoever made them; so a program may drop its rights before its bind. A port
// below ip_unprivileged_port_start (ip(7)) wants CAP_NET_BIND_SERVICE. Whoever may
// become the owner (CAP_SETUID) could have made the socket as that: at a restart,
// whose versions may be of different users, it gets it. All others' binds are made
// as they are.

// mayHave reports whether task k may be given held socket h in place of its
// descriptor fd; -1: of one that it need not have itself. If not, that is told.
func (t *Tracer) mayHave(k *task, fd int, h *Held) bool { return t.mayGet(k, fd, h, false) }

// mayShare is mayHave for a socket of the very generation, or of one beside it: who
// made that may be at work, and keep what he has. So it must be of one owner.
func (t *Tracer) mayShare(k *task, fd int, h *Held) bool { return t.mayGet(k, fd, h, true) }

func (t *Tracer) mayGet(k *task, fd int, h *Held, own bool) bool {
	r := rightsOf(k.tid)
	var st unix.Stat_t
	if fd >= 0 && unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", k.tid, fd), &st) == nil {
		r.owner = st.Uid
	}
	why := r.refuse(h, own)
	if why == "" {
		return true
	}
	g := k.proc.gen
	if !h.refused {
		h.refused = true // once: a program may try again and again
		t.tell(Note{Kind: NoteWarning, Generation: g, PID: k.proc.pid,
			Text: fmt.Sprintf("%s is not handed to process %d: %s", h.Name, k.proc.pid, why)})
	}
	return false
}

// rights is what a task may do, as /proc/TID/status tells it.
type rights struct {
	tid   int
	owner uint32 // its effective user id, or whose the socket is that it binds, by hupt's user namespace
	caps  uint64 // effective, in its own user namespace
	ok    bool
}

func rightsOf(tid int) (r rights) {
	r.tid = tid
	var uid, caps bool
	err := eachStatus(tid, func(name, v string) {
		switch name {
		case "Uid":
			if f := strings.Fields(v); len(f) == 4 {
				r.owner, uid = parseID(f[1]), true
			}
		case "CapEff":
			n, err := strconv.ParseUint(v, 16, 64)
			r.caps, caps = n, err == nil
		}
	})
	r.ok = err == nil && uid && caps
	return r
}

func (r rights) has(capability uint) bool { return r.caps&(1<<capability) != 0 }

// refuse is why the task could not have bound h itself; empty if it could. own:
// what it could have as another user does not count.
func (r rights) refuse(h *Held, own bool) string {
	if !r.ok {
		return "its rights are not known"
	}
	// The inode of a socket has the effective user id of whoever made it, or what
	// fchown(2) gave it since: sk_uid, which the kernel compares.
	var st unix.Stat_t
	if unix.Fstat(h.FD, &st) != nil {
		return "its owner is not known"
	}
	if st.Uid != r.owner && (own || !r.has(unix.CAP_SETUID) || !sameNamespace(r.tid, "user")) {
		return fmt.Sprintf("it is user %d's, and what is bound is user %d's", st.Uid, r.owner)
	}
	if port := h.Name.Address.Port(); port != 0 && int(port) < firstFreePort(r.tid) && !r.mayBindLow() {
		return fmt.Sprintf("port %d wants CAP_NET_BIND_SERVICE", port)
	}
	return ""
}

// sameNamespace reports whether a task is in hupt's own namespace of that kind.
func sameNamespace(tid int, kind string) bool {
	a, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", tid, kind))
	b, err2 := os.Readlink("/proc/self/ns/" + kind)
	return err == nil && err2 == nil && a == b
}

// firstFreePort is the first port that anybody may bind in the network namespace
// of a task. The file tells it of hupt's own.
func firstFreePort(tid int) int {
	const usual = 1024
	if !sameNamespace(tid, "net") {
		return usual
	}
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return usual // before Linux 4.11
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return usual
	}
	return n
}

// mayBindLow reports whether the task's CAP_NET_BIND_SERVICE counts: in the user
// namespace that its network namespace belongs to (ioctl_ns(2), Linux 4.9), or
// one that this is within.
func (r rights) mayBindLow() bool {
	if !r.has(unix.CAP_NET_BIND_SERVICE) {
		return false
	}
	own, err := namespaceID(fmt.Sprintf("/proc/%d/ns/user", r.tid))
	if err != nil {
		return false
	}
	const getUser, getParent = 0xb701, 0xb702 // NS_GET_USERNS, NS_GET_PARENT
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", r.tid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	request := uint(getUser)
	for range 34 { // user namespaces nest 32 deep
		next, err := unix.IoctlRetInt(fd, request)
		unix.Close(fd)
		if err != nil {
			return false // EPERM: beyond hupt's own
		}
		fd, request = next, getParent
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && idOf(&st) == own {
			unix.Close(fd)
			return true
		}
	}
	unix.Close(fd)
	return false
}

func namespaceID(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fileID{}, err
	}
	return idOf(&st), nil
}

// isFree reports whether a descriptor of hupt's is of a socket that is neither
// bound nor connected. The bind of any other fails (EINVAL); and to put something
// in a connection's place would close it, which may take as long as its SO_LINGER
// says.
func isFree(fd int) bool {
	b, err := sockname(fd)
	if err != nil {
		return false
	}
	n, named := parseSockaddr(b)
	if named && (n.Address.Port() != 0 || n.Path != "") {
		return false
	}
	return !isConnected(fd)
}

func isConnected(fd int) bool {
	_, err := unix.Getpeername(fd)
	return err != unix.ENOTCONN
}
