package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hupt/internal/named"
)

// openLog is where the daemon and its program write.
func (c *runCmd) openLog() (*os.File, error) {
	path := c.Log
	if path == "" {
		path = os.DevNull
	}
	f, err := appendTo(path)
	if err != nil {
		return nil, usagef("--log: %w", err)
	}
	return f, nil
}

// appendTo opens a file to write to its end, and makes it if there is none. It is
// often in a directory of the program's, and hupt may be root: whoever may put a
// name there must not lead it to a file that he may not write to himself, by a link of
// either kind.
func appendTo(path string) (*os.File, error) {
	file, err := named.At(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// A FIFO that nobody reads is an error, and nothing to wait for.
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND | unix.O_NOCTTY | unix.O_NONBLOCK
	others, err := othersMayReplace(file)
	if err != nil {
		return nil, err
	}
	open := file.Open
	if !others {
		open = file.Follow
	}
	f, err := open(flags, 0o644)
	switch {
	case errors.Is(err, unix.ELOOP) && others:
		return nil, fmt.Errorf("%s is a symbolic link in a directory to which others may write", path)
	case errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("nobody reads from the FIFO %s", path)
	case err != nil:
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && others && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink > 1 {
		err = fmt.Errorf("%s has other names (hard links), and is in a directory to which others may write", path)
	}
	if err == nil {
		err = unix.SetNonblock(int(f.Fd()), false)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// othersMayReplace reports whether somebody besides root and hupt's user may put something
// in the place of file: in a sticky directory not what is theirs.
func othersMayReplace(file *named.File) (bool, error) {
	dir, err := file.DirStat()
	if err != nil {
		return false, err
	}
	trusted := func(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }
	switch {
	case !trusted(dir.Uid):
		return true, nil
	case dir.Mode&0o022 == 0:
		return false, nil
	case dir.Mode&unix.S_ISVTX == 0:
		return true, nil
	}
	st, err := file.Stat()
	return err != nil || !trusted(st.Uid), nil // what is not there yet, anybody may make
}
