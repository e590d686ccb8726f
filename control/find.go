package control

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
)

// Find lists the instances whose sockets are in dirs, in the order of their
// pids, with their status. One that does not answer is listed with its Err.
// Sockets left over in our own directories are removed on the way. An unsafe
// directory is an error only if it is the first, our own; others are skipped,
// as anybody may have made them.
func Find(ctx context.Context, dirs []Dir) ([]Instance, error) {
	var found []Instance
	for n, dir := range dirs {
		err := dir.check()
		if n == 0 && err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil {
			continue
		}
		if dir.UID == os.Getuid() {
			sweep(dir.Path)
		}
		for _, path := range sockets(dir.Path) {
			found = append(found, Instance{Socket: path, PID: pidOf(path), UID: dir.UID})
		}
	}
	var wg sync.WaitGroup
	for n := range found {
		wg.Go(func() { found[n].Err = found[n].Refresh(ctx) })
	}
	wg.Wait()
	for n := range found {
		// Of another user's instance, nothing is believed but who answers.
		if i := &found[n]; i.UID != os.Getuid() && i.peerPID != 0 {
			i.PID = i.peerPID
		}
	}
	// It was there a moment ago: it ended.
	found = slices.DeleteFunc(found, func(i Instance) bool { return i.Err != nil && stale(i.Socket) })
	slices.SortStableFunc(found, func(a, b Instance) int { return a.PID - b.PID })
	return found, nil
}
