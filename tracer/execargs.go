package tracer

import "golang.org/x/sys/unix"

// execArgs are the strings of an execve and the arrays that point to them, as
// they are put into the task's memory: the strings first.
type execArgs struct {
	text   []byte
	arrays [][]uint64 // of places of strings in text
}

// add gives the place of a string.
func (a *execArgs) add(s string) uint64 {
	at := uint64(len(a.text))
	a.text = append(append(a.text, s...), 0)
	return at
}

// addAll gives the number of an array: see at.
func (a *execArgs) addAll(words []string) int {
	array := make([]uint64, 0, len(words))
	for _, w := range words {
		array = append(array, a.add(w))
	}
	a.arrays = append(a.arrays, array)
	return len(a.arrays) - 1
}

// at is the place of an array, when all has been added.
func (a *execArgs) at(n int) uint64 {
	at := (uint64(len(a.text)) + 7) &^ 7
	for _, array := range a.arrays[:n] {
		at += 8 * uint64(len(array)+1)
	}
	return at
}

func (a *execArgs) size() uint64 { return a.at(len(a.arrays)) }

// bytes is all of it, as it is at base. Arrays end with a zero.
func (a *execArgs) bytes(base uint64) []byte {
	b := make([]byte, a.size())
	copy(b, a.text)
	for n, array := range a.arrays {
		for i, at := range array {
			order.PutUint64(b[a.at(n)+8*uint64(i):], base+at)
		}
	}
	return b
}

// bring puts it into the task's memory.
func (a *execArgs) bring(i *injection) (base uint64, err error) {
	addr, err := i.call("mmap", unix.SYS_MMAP, 0, a.size(), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0)
	if err != nil {
		return 0, err
	}
	return uint64(addr), writeMemory(i.k.tid, uint64(addr), a.bytes(uint64(addr)))
}
