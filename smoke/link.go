package smoke

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// failing is a program that exits with code 42 at once: three instructions in
// an ELF file of their own, as there may be no shell where a server runs.
// testdata/failing.s is its source.
//
//go:embed failing_amd64.elf
var failing []byte

// versions is a symbolic link in the place of the server's program, by which
// a run changes what the next generation will be.
type versions struct {
	link          string
	first, second string
	bad           string
}

// newVersions makes the link in dir, pointing at the program of the command.
func newVersions(dir string, o *Options) (*versions, error) {
	name := o.Command[0]
	if o.Dir != "" && strings.Contains(name, "/") && !filepath.IsAbs(name) {
		name = filepath.Join(o.Dir, name)
	}
	first, err := exec.LookPath(name)
	if err != nil {
		return nil, usage("%v", err)
	}
	if first, err = filepath.Abs(first); err != nil {
		return nil, err
	}
	v := &versions{first: first, link: filepath.Join(dir, filepath.Base(first))}
	for path, to := range map[string]*string{o.Upgrade: &v.second, o.BadVersion: &v.bad} {
		if path != "" {
			if *to, err = filepath.Abs(path); err != nil {
				return nil, err
			}
		}
	}
	if o.BadStart && v.bad == "" {
		v.bad = filepath.Join(dir, "exits-with-42")
		if err := os.WriteFile(v.bad, failing, 0o755); err != nil {
			return nil, err
		}
	}
	return v, v.point(v.first)
}

// point makes the link lead to path from now on.
func (v *versions) point(path string) error {
	next := v.link + ".next"
	if err := os.Symlink(path, next); err != nil {
		return err
	}
	return os.Rename(next, v.link)
}

// runs returns which program a process was started from: its executable or,
// if that is an interpreter, what the link led to when it was given the link.
func (v *versions) runs(pid int, expected string) string {
	exe, args := program(pid)
	if exe == real(expected) {
		return expected
	}
	if script(expected) && len(args) > 1 && slices.Contains(args[1:], v.link) {
		return expected
	}
	return exe
}

// script says whether a file names its interpreter.
func script(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [2]byte
	_, err = f.Read(b[:])
	return err == nil && string(b[:]) == "#!"
}

// real returns path without symbolic links, as the kernel tells of a process.
func real(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return path
}
