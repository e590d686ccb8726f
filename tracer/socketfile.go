package tracer

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hupt/fdtable"
)

// socketFile is the file of a Unix socket that is bound to a path.
//
// The kernel does not tell an ordinary user where a socket's file is by now:
// its name is what bind() was given, which may be relative to a directory that
// the program left since. So each bind to a path is looked up as it is made.
type socketFile struct {
	lookup          // where it is
	id     fileID   // which file it is
	asked  fileMode // what the last bind to it would have given it
	// removed is the generation that unlinked it, or moved it away, and was told
	// that it had: others still needed it. nil: none did.
	removed *Generation
	// freed is the generation that was told so last: its own bind there does not fail.
	freed *Generation
	by    credentials // of who did
	// replaced: another socket was bound there since. The number of its file may
	// be that of the new one.
	replaced bool
}

// fileMode is a file's owner and permissions.
type fileMode struct{ mode, uid, gid uint32 }

func modeOf(st *unix.Stat_t) fileMode { return fileMode{st.Mode & 0o7777, st.Uid, st.Gid} }

// bindMode is what the file of a socket gets that task tid binds: the mode of
// the socket, which fchmod() may have changed, without the task's umask; and
// its owner in file systems (unix_bind_bsd in the kernel). local is hupt's
// duplicate of the socket.
func bindMode(tid, local int, in lookup) (m fileMode) {
	var st unix.Stat_t
	if unix.Fstat(local, &st) != nil {
		return m
	}
	m.mode = st.Mode & 0o7777
	eachStatus(tid, func(name, v string) {
		f := strings.Fields(v)
		switch {
		case name == "Umask":
			umask, _ := strconv.ParseUint(v, 8, 32)
			m.mode &^= uint32(umask)
		case name == "Uid" && len(f) == 4:
			m.uid = parseID(f[3])
		case name == "Gid" && len(f) == 4:
			m.gid = parseID(f[3])
		}
	})
	if unix.Fstat(int(in.in.Fd()), &st) == nil && st.Mode&unix.S_ISGID != 0 {
		m.gid = st.Gid
	}
	return m
}

func parseID(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// permissions are the bits that hupt gives a file: never set-id ones.
const permissions = 0o777

// set gives the file an owner and permissions. What hupt may not do, the
// program could not have done either, but for a change of its group. The name is
// looked up once: whatever it leads to afterwards is left alone.
func (f *socketFile) set(m fileMode) {
	fd, err := unix.Openat(int(f.in.Fd()), f.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || idOf(&st) != f.id || !isSocket(&st) || f.replaced {
		return
	}
	have := modeOf(&st)
	if have.uid != m.uid || have.gid != m.gid {
		unix.Fchownat(fd, "", int(m.uid), int(m.gid), unix.AT_EMPTY_PATH)
	}
	if have.mode != m.mode&permissions {
		unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), m.mode&permissions)
	}
}

func isSocket(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFSOCK }

// path is where the file is, as hupt sees it.
func (f *socketFile) path() string {
	dir, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.in.Fd())))
	if err != nil {
		return f.name
	}
	return filepath.Join(dir, f.name)
}

// SocketPaths is where the files of the program's Unix sockets are by now, by
// the inode of the socket. What a bind was given may be relative, or renamed.
func (t *Tracer) SocketPaths() map[uint64]string {
	out := make(map[uint64]string)
	t.Do(func() {
		for inode, f := range t.files {
			if f.there() || f.findInDir() {
				out[inode] = f.path()
			}
		}
	})
	return out
}

// there reports whether the file is where it was last seen.
func (f *socketFile) there() bool { return !f.replaced && f.is(f.id) }

// remove notes that a task of g took the file away, and was told that it had.
func (f *socketFile) remove(g *Generation, by credentials) { f.removed, f.by = g, by }

// unlink removes the file with the rights of who took it away, if it is still where
// it was.
func (f *socketFile) unlink() { f.unlinkAs(f.by) }

func (f *socketFile) unlinkAs(c credentials) {
	if f.replaced {
		return
	}
	at, id := f.lookup, f.id
	asTask(c, func() (none struct{}, err error) {
		st, err := at.stat()
		if err == nil && idOf(&st) == id && isSocket(&st) {
			err = unix.Unlinkat(int(at.in.Fd()), at.name, 0)
		}
		return none, err
	})
}

// boundFile is the file that a socket was just bound to, of which fd is hupt's
// descriptor, if that is the one at in, as hupt looked it up when the task asked by
// the name path. The kernel read the name, and followed it, once more: another
// thread may have changed either meanwhile. So the kernel is asked what it did.
// fresh: nothing was there before.
func boundFile(fd int, in lookup, path string, fresh bool, asked fileMode) (id fileID, ok bool) {
	name, err := nameOf(fd)
	if err != nil || name.Path != path {
		return id, false
	}
	st, err := in.stat()
	if err != nil || !isSocket(&st) || st.Uid != asked.uid && os.Geteuid() == 0 {
		return id, false
	}
	if made, err := fileOf(fd); err == nil {
		return made, made == idOf(&st)
	}
	// That wants CAP_NET_ADMIN. What was not there then, and is now of the same
	// owner, is believed to be it.
	return idOf(&st), fresh
}

// fileOf is the file of the socket that hupt's descriptor fd is.
func fileOf(fd int) (id fileID, err error) {
	file, err := unix.IoctlRetInt(fd, siocUnixFile)
	if err != nil {
		return id, err
	}
	defer unix.Close(file)
	var st unix.Stat_t
	err = unix.Fstat(file, &st)
	return idOf(&st), err
}

// siocUnixFile gives an O_PATH descriptor of a Unix socket's file (Linux 4.13), to
// whoever has CAP_NET_ADMIN.
const siocUnixFile = 0x89e0

// noteFile remembers the file id of a socket that was just bound.
func (t *Tracer) noteFile(inode uint64, in lookup, id fileID, asked fileMode) {
	for i, f := range t.files {
		if f.place == in.place || f.id == id {
			f.replaced = true
			delete(t.files, i)
		}
	}
	if len(t.files) >= t.filesLimit {
		t.forgetFiles()
	}
	t.files[inode] = &socketFile{lookup: in, id: id, asked: asked}
}

// filesLimit is how many files are remembered before those of sockets are
// forgotten that nobody has any more: clients bind to paths, too.
const filesLimit = 256

func (t *Tracer) forgetFiles() {
	open := fdtable.Open(maps.Keys(t.procs))
	for inode, f := range t.files {
		if !open[inode] && f.removed == nil && !t.standsIn(nil, inode) {
			delete(t.files, inode)
		}
	}
	t.filesLimit = max(filesLimit, 2*len(t.files))
}

// fileFor is the file of a held socket, where it is by now; nil if it has none
// any more, or none that can be found: then nobody can ask for the socket.
func (t *Tracer) fileFor(h *Held) *socketFile {
	f := t.files[h.Inode]
	switch {
	case f == nil:
		if f = inheritedFile(h); f != nil {
			t.files[h.Inode] = f
		}
	case !f.there() && !f.findBySocket(h.FD) && !f.findInDir():
		return nil
	}
	return f
}

// inheritedFile is the file of a socket that the program did not bind itself.
func inheritedFile(h *Held) *socketFile {
	f := &socketFile{}
	if f.findBySocket(h.FD) {
		return f
	}
	l, err := lookUp(os.Getpid(), unix.AT_FDCWD, h.Name.Path)
	if err != nil || !filepath.IsAbs(h.Name.Path) {
		return nil
	}
	st, err := l.stat()
	if err != nil || !isSocket(&st) || h.Name.File.Inode != 0 && h.Name.File.Inode != uint32(st.Ino) || !sameOwner(h.FD, &st) {
		return nil
	}
	return &socketFile{lookup: l, id: idOf(&st), asked: modeOf(&st)}
}

// sameOwner reports whether a file is of the user that a socket is, which counts where
// hupt is root: the name of a socket that somebody bound elsewhere may be that of
// another's here.
func sameOwner(fd int, file *unix.Stat_t) bool {
	var st unix.Stat_t
	return os.Geteuid() != 0 || unix.Fstat(fd, &st) == nil && st.Uid == file.Uid
}

// findInDir looks for the file in the directory in which it was: a server that
// binds to a temporary name and renames it does so there.
func (f *socketFile) findInDir() bool {
	dir, err := open(int(f.in.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return false
	}
	for _, name := range names {
		l := f.lookup
		l.name = name
		if l.is(f.id) {
			f.lookup = l
			return true
		}
	}
	return false
}

// findBySocket asks the socket itself, hupt's descriptor fd, for its file
// (SIOCUNIXFILE, Linux 4.13). That wants CAP_NET_ADMIN.
func (f *socketFile) findBySocket(fd int) bool {
	file, err := unix.IoctlRetInt(fd, siocUnixFile)
	if err != nil {
		return false
	}
	defer unix.Close(file)
	var st unix.Stat_t
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(file))
	if err != nil || unix.Fstat(file, &st) != nil {
		return false
	}
	l, err := lookUp(os.Getpid(), unix.AT_FDCWD, path)
	if err != nil || !l.is(idOf(&st)) {
		return false // removed, or nowhere that hupt can see
	}
	if f.id == (fileID{}) {
		f.asked = modeOf(&st)
	}
	f.lookup, f.id = l, idOf(&st)
	return true
}
