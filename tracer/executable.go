package tracer

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// begin is for g's first stop in its program: process pid has executed it, and
// has not made one instruction of it.
func (g *Generation) begin(pid int) {
	g.begun = true
	g.Executable = executable(pid, g.words)
	close(g.first)
}

// executable opens the file that process pid executed, at the stop of an execve
// to which so many words were given; or nil if the kernel executed an
// interpreter of that file's.
//
// The number of words says which: the kernel puts the interpreter's name, and
// the file's, before the first of them (fs/binfmt_script.c, and binfmt_misc.c
// with all its flags), and so does stage 2 for what it gives to /bin/sh. What the
// file's name leads to says nothing: somebody may just have put another one
// there. argc is where the stack begins, an int or a long (load_elf_binary).
func executable(pid, words int) *os.File {
	r, err := getRegisters(pid)
	if err != nil {
		return nil
	}
	var argc [4]byte
	if readMemory(pid, stackPointer(&r), argc[:]) != nil || int(binary.NativeEndian.Uint32(argc[:])) != words {
		return nil
	}
	name := fmt.Sprintf("/proc/%d/exe", pid)
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), name)
}
