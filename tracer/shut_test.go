package tracer

import (
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// TestShutRead: the other end of a connection is told nothing, and what it
// sends still arrives; nobody preempts the thread from the look to the close,
// and afterwards it is as it was.
func TestShutRead(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	defer client.Close()
	conn, err := l.Accept()
	check(t, err)
	defer conn.Close()
	f, err := conn.(*net.TCPConn).File()
	check(t, err)
	defer f.Close()
	inode, ok := fdtable.SocketInode(os.Getpid(), int(f.Fd()))
	if !ok {
		t.Fatal("no socket")
	}
	attr := func() unix.SchedAttr {
		t.Helper()
		a, err := unix.SchedGetAttr(0, 0)
		check(t, err)
		return *a
	}
	before := attr()
	var within unix.SchedAttr
	for _, may := range []bool{false, true} {
		done, err := ShutRead(os.Getpid(), int(f.Fd()), inode, func(fdtable.Flow) bool {
			within = attr()
			return may
		})
		if err != nil || done != may {
			t.Fatalf("done: %v, %v; allowed: %v", done, err, may)
		}
		if after := attr(); after != before {
			t.Errorf("the thread is scheduled as %+v, before as %+v", after, before)
		}
	}
	switch {
	case before.Policy != unix.SCHED_NORMAL && before.Policy != unix.SCHED_BATCH:
		t.Logf("scheduled as %+v: left as it is", before)
	case within.Policy == unix.SCHED_FIFO:
	case before.Runtime == 0:
		t.Log("this kernel knows no slices, and real time is refused")
	case within.Runtime != slice:
		t.Errorf("meanwhile the thread is scheduled as %+v", within)
	}
	_, err = client.Write([]byte("late"))
	check(t, err)
	b := make([]byte, 10)
	if n, err := conn.Read(b); err != nil || string(b[:n]) != "late" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if n, err := conn.Read(b); n != 0 || err == nil {
		t.Errorf("read %q, %v, after the end", b[:n], err)
	}
	_, err = conn.Write([]byte("answer"))
	check(t, err)
	if n, err := client.Read(b); err != nil || string(b[:n]) != "answer" {
		t.Errorf("the client read %q, %v", b[:n], err)
	}
	if _, err := ShutRead(os.Getpid(), int(f.Fd()), inode+1, func(fdtable.Flow) bool { return true }); err == nil {
		t.Error("another socket was taken for this one")
	}
}
