package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"hupt/internal/named"
)

// aside is a file that was moved away so that the next generation does not find
// it: its pidfile names a process that lives, say. Its directory is resolved once,
// for a whole restart.
type aside struct {
	file  *named.File // nil: it had no directory
	saved *named.File // where it was moved to; nil: there was none
	guard *named.File // a second name of the file that is to stay; nil: none
}

// canMoveAside says what will keep a file from being moved away.
func canMoveAside(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.IsDir():
		return fmt.Errorf("%s is a directory, it can't be unlinked", path)
	}
	return nil
}

// moveAside moves files away for the launch of generation n. If one can't be
// moved, none is.
func moveAside(paths []string, n int) (moved []aside, err error) {
	for _, path := range paths {
		a, err := moveOneAside(path, n)
		if err != nil {
			for i := range moved {
				moved[i].putBack()
				moved[i].close()
			}
			return nil, fmt.Errorf("unlink: %w", err)
		}
		moved = append(moved, a)
	}
	return moved, nil
}

func moveOneAside(path string, n int) (a aside, err error) {
	a.file, err = named.At(path)
	if errors.Is(err, fs.ErrNotExist) {
		return aside{}, nil // the program makes the directory, too
	}
	if err != nil {
		return a, err
	}
	saved := a.file.Beside(fmt.Sprintf(".hupt-%d-%d", os.Getpid(), n))
	err = a.file.Rename(saved)
	switch {
	case err == nil:
		a.saved = saved
	case !errors.Is(err, fs.ErrNotExist):
		a.close()
		return a, err
	}
	return a, nil
}

func (a *aside) close() {
	if a.file != nil {
		a.file.Close()
		a.file = nil
	}
}

// putBack gives the file its name again. What the new generation put there is
// gone.
func (a *aside) putBack() {
	if a.saved != nil {
		a.saved.Rename(a.file)
		a.saved = nil
	}
}

// decide ends the absence of the file: the new generation's stays, or the old
// one's comes back. A second name guards it, since whoever is to go may unlink
// it when it does.
func (a *aside) decide(ok bool) {
	if a.file == nil || !ok && a.saved == nil {
		return
	}
	if !ok {
		a.putBack()
	} else if a.saved != nil {
		a.saved.Remove()
		a.saved = nil
	}
	guard := a.file.Beside(fmt.Sprintf(".hupt-%d", os.Getpid()))
	guard.Remove()
	if a.file.Link(guard) == nil {
		a.guard = guard
	}
}

func (h *handover) decideAsides() {
	for i := range h.asides {
		h.asides[i].decide(h.ok)
	}
}

// over: whoever might have unlinked the file has gone. A new generation that
// was given up may also have written it anew.
func (a *aside) over(ok bool) {
	defer a.close()
	if a.guard == nil {
		return
	}
	there, err := a.file.Stat()
	kept, e := a.guard.Stat()
	same := there.Dev == kept.Dev && there.Ino == kept.Ino
	if e == nil && (errors.Is(err, fs.ErrNotExist) || err == nil && !ok && !same) {
		a.guard.Rename(a.file)
	} else {
		a.guard.Remove()
	}
	a.guard = nil
}

// removeLeftovers takes away what a version that failed left in place of files
// that were moved aside for it.
func (h *handover) removeLeftovers() {
	for _, a := range h.asides {
		if a.file != nil && !a.file.IsDir() {
			a.file.Remove()
		}
	}
}
