package smoke

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// udpUnconnected is the state in /proc/net/udp of a socket that is bound only.
const udpUnconnected = 7

// inetSocket is one line of /proc/PID/net/{udp,udp6}, or tcp.
type inetSocket struct {
	local, remote netip.AddrPort
	state         uint64
	inode         uint64
}

// parseInet reads such a file. Lines that it does not understand are left out.
func parseInet(r io.Reader) []inetSocket {
	var list []inetSocket
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 10 {
			continue
		}
		local, ok1 := parseAddr(f[1])
		remote, ok2 := parseAddr(f[2])
		state, err1 := strconv.ParseUint(f[3], 16, 8)
		inode, err2 := strconv.ParseUint(f[9], 10, 64)
		if ok1 && ok2 && err1 == nil && err2 == nil {
			list = append(list, inetSocket{local, remote, state, inode})
		}
	}
	return list
}

// parseAddr reads an address as the kernel prints it: words of 32 bits, each
// in the byte order of the machine, and the port.
func parseAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	raw, err2 := hex.DecodeString(host)
	if !ok || err != nil || err2 != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 { // little-endian: this is amd64 and arm64
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a, uint16(p)), true
}

// inetSockets reads the table of pid's network namespace.
func inetSockets(pid int, name string) []inetSocket {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
	if err != nil {
		return nil
	}
	defer f.Close()
	return parseInet(f)
}

// unixListener is a listening Unix socket that has a path.
type unixListener struct {
	path  string
	inode uint64
}

// parseUnix reads /proc/net/unix for stream sockets that listen on a path.
func parseUnix(r io.Reader) []unixListener {
	const acceptCon = 1 << 16 // __SO_ACCEPTCON in the flags
	var list []unixListener
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) != 8 || !strings.HasPrefix(f[7], "/") || f[4] != "0001" {
			continue
		}
		flags, err1 := strconv.ParseUint(f[3], 16, 64)
		inode, err2 := strconv.ParseUint(f[6], 10, 64)
		if err1 == nil && err2 == nil && flags&acceptCon != 0 {
			list = append(list, unixListener{f[7], inode})
		}
	}
	return list
}

// listening returns the sockets on which processes listen, or to which they
// are bound for UDP. Processes of one run share a network namespace.
func listening(pids []int) []Socket {
	if len(pids) == 0 {
		return nil
	}
	have := socketInodes(pids)
	if len(have) == 0 {
		return nil
	}
	var found []Socket
	add := func(network, address string, inode uint64) {
		if _, ours := have[inode]; ours {
			found = append(found, Socket{network, address, inode})
		}
	}
	var ns int // a process that is still there to ask
	for _, pid := range pids {
		if _, _, _, ok := stat(pid); ok {
			ns = pid
			break
		}
	}
	// Not /proc/net/tcp: a machine that answers many clients has 100,000
	// lines of TIME_WAIT in it.
	tcp, err := fdtable.Dump(fdtable.Listening, 0)
	if err != nil {
		return nil
	}
	for _, s := range tcp {
		network := "tcp4"
		if s.Family == unix.AF_INET6 {
			network = "tcp6"
		}
		add(network, s.Local.String(), s.Inode)
	}
	for file, network := range map[string]string{"udp": "udp4", "udp6": "udp6"} {
		for _, s := range inetSockets(ns, file) {
			if s.state == udpUnconnected && s.local.Port() != 0 {
				add(network, s.local.String(), s.inode)
			}
		}
	}
	if f, err := os.Open(fmt.Sprintf("/proc/%d/net/unix", ns)); err == nil {
		for _, u := range parseUnix(f) {
			add("unix", u.path, u.inode)
		}
		f.Close()
	}
	sortSockets(found)
	return found
}

// reachable returns the address by which a client on this machine reaches a
// socket.
func (s Socket) reachable() (network, address string) {
	if s.Network == "unix" {
		return "unix", s.Address
	}
	network = strings.TrimRight(s.Network, "46")
	a, err := netip.ParseAddrPort(s.Address)
	if err != nil {
		return network, s.Address
	}
	if a.Addr().IsUnspecified() {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if a.Addr().Is6() {
			loopback = netip.IPv6Loopback()
		}
		a = netip.AddrPortFrom(loopback, a.Port())
	}
	return network, a.String()
}
