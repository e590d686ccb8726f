package tracer

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestSettings: what one socket was given, another has afterwards.
func TestSettings(t *testing.T) {
	socket := func() int {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	from, to := socket(), socket()
	set := map[option]int{
		{unix.SOL_SOCKET, unix.SO_BROADCAST}:          1,
		{unix.SOL_SOCKET, unix.SO_RCVBUF}:             50_000,
		{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO}:    1,
		{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}:   17,
		{unix.IPPROTO_UDP, udpSegment}:                1000,
		{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP}: 0,
	}
	for o, v := range set {
		if err := unix.SetsockoptInt(from, o.level, o.name, v); err != nil {
			t.Fatal(o, err)
		}
	}
	timeout := unix.Timeval{Sec: 3, Usec: 500_000}
	if err := unix.SetsockoptTimeval(from, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	was := readSettings(to, datagramOptions)
	readSettings(from, datagramOptions).apply(to, datagramOptions)
	for o := range set {
		want, _ := unix.GetsockoptInt(from, o.level, o.name)
		if got, err := unix.GetsockoptInt(to, o.level, o.name); err != nil || got != want {
			t.Errorf("%v: %d, not %d: %v", o, got, want, err)
		}
	}
	if got, err := unix.GetsockoptTimeval(to, unix.SOL_SOCKET, unix.SO_RCVTIMEO); err != nil || *got != timeout {
		t.Errorf("%v, %v", got, err)
	}
	was.apply(to, datagramOptions)
	for o, want := range was {
		if got := readSettings(to, datagramOptions)[o]; string(got) != string(want) {
			t.Errorf("%v: %v, not %v again", o, got, want)
		}
	}
}
