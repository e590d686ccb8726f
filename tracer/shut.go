package tracer

import (
	"os"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// ShutRead closes connection inode, descriptor fd of process pid, for reading:
// the program sees an end of file, as from a client that left. It is done on a
// duplicate, and only if may agrees to how the connection stands at that
// moment. A request that comes in just then is still read: the kernel gives out
// what is in the queue before it tells of the end. It reports whether it did.
func ShutRead(pid, fd int, inode uint64, may func(fdtable.Flow) bool) (bool, error) {
	local, err := takeFD(pid, fd)
	if err != nil {
		return false, err
	}
	defer unpreempted()()
	defer closeDuplicate(local)
	var st unix.Stat_t
	if err := unix.Fstat(local, &st); err != nil || st.Ino != inode {
		return false, os.NewSyscallError("pidfd_getfd", unix.ENOENT)
	}
	f, err := fdtable.FlowOf(local)
	if err != nil || !may(f) {
		return false, err
	}
	return true, os.NewSyscallError("shutdown", unix.Shutdown(local, unix.SHUT_RD))
}
