package stage2

import (
	"bytes"
	"debug/elf"
	"io"
	"os"
	"strings"
)

// scriptHead is how much of a script the kernel reads for its first line
// (BINPRM_BUF_SIZE), and scriptDepth how many interpreters that are scripts
// themselves it follows (execve(2)).
const (
	scriptHead  = 256
	scriptDepth = 5
)

// Interpretable reports whether the interpreter is there that the program at
// path names, if it names one: that of a script, or the dynamic loader. What
// can't be read, or is of some other kind, is believed.
func Interpretable(path, dir string) bool {
	for range scriptDepth {
		if dir != "" && !strings.HasPrefix(path, "/") {
			path = dir + "/" + path
		}
		f, err := os.Open(path)
		if err != nil {
			return true
		}
		named := interpreter(f)
		f.Close()
		if named == "" {
			return true
		}
		if executable(named, dir) != nil {
			return false
		}
		path = named
	}
	return false
}

// interpreter is the one that a file names, or "".
func interpreter(f *os.File) string {
	head := make([]byte, scriptHead)
	n, _ := io.ReadFull(f, head)
	if line, ok := bytes.CutPrefix(head[:n], []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		if words := bytes.Fields(line); len(words) > 0 {
			return string(bytes.TrimRight(words[0], "\x00"))
		}
		return ""
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err == nil {
				return string(bytes.TrimRight(b, "\x00"))
			}
		}
	}
	return ""
}
