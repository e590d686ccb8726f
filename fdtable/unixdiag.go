package fdtable

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// FileID is the socket file of a Unix socket as unix_diag tells it: by the
// kernel's own numbers, which stat(2) need not give (overlayfs). Zero: none.
type FileID struct {
	Inode uint32
	Dev   uint32
}

// unixRequest is struct unix_diag_req (linux/unix_diag.h).
type unixRequest struct{ states uint32 }

const unixRequestLen = 24

func (r unixRequest) Kind() int { return nl.SOCK_DIAG_BY_FAMILY }

func (r unixRequest) Len() int { return unixRequestLen }

func (r unixRequest) Serialize() []byte {
	const showName, showVFS, showPeer, showQueue = 1, 2, 4, 16 // UDIAG_SHOW_…
	b := make([]byte, unixRequestLen)
	b[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(b[4:], r.states)
	binary.NativeEndian.PutUint32(b[12:], showName|showVFS|showPeer|showQueue)
	binary.NativeEndian.PutUint64(b[16:], ^uint64(0)) // no cookie
	return b
}

// DumpUnix lists the Unix sockets of the caller's network namespace in the
// given states: StateListen, StateEstablished, and StateClose for what is
// neither, as datagram sockets are that have no peer. sock_diag(7). A kernel
// without unix_diag has none to list.
func DumpUnix(states uint32) ([]Socket, error) {
	out, err := dump(unixRequest{states}, parseUnix)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	return out, nil
}

// Attributes of struct unix_diag_msg, linux/unix_diag.h.
const (
	unixDiagName  = 0
	unixDiagVFS   = 1
	unixDiagPeer  = 2
	unixDiagQueue = 4
)

// parseUnix reads struct unix_diag_msg and its attributes.
func parseUnix(b []byte) (Socket, bool) {
	const header = 16
	if len(b) < header || b[0] != unix.AF_UNIX {
		return Socket{}, false
	}
	s := Socket{Family: b[0], Type: b[1], State: b[2], Inode: uint64(binary.NativeEndian.Uint32(b[4:]))}
	for b = b[header:]; len(b) >= unix.SizeofRtAttr; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			break
		}
		s.setUnix(binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:n])
		b = b[min(len(b), (n+3)&^3):]
	}
	return s, true
}

func (s *Socket) setUnix(attribute uint16, v []byte) {
	word := func(n int) uint32 { return binary.NativeEndian.Uint32(v[4*n:]) }
	switch {
	case attribute == unixDiagName:
		s.Path = UnixPath(v)
	case attribute == unixDiagVFS && len(v) >= 8:
		s.File = FileID{Inode: word(0), Dev: word(1)}
	case attribute == unixDiagPeer && len(v) >= 4:
		s.Peer = uint64(word(0))
	case attribute == unixDiagQueue && len(v) >= 8 && s.State == StateListen:
		s.Queue, s.Backlog = int(word(0)), int(word(1))
	case attribute == unixDiagQueue && len(v) >= 8:
		s.Unread, s.Unsent = int(word(0)), int(word(1))
	}
}

// UnixPath is the name in the sun_path of a struct sockaddr_un of which b are
// the bytes that count (unix(7)): a path ends at a NUL, an abstract name, which
// begins with one, at the end.
func UnixPath(b []byte) string {
	if len(b) > 0 && b[0] == 0 {
		return string(b)
	}
	for n, c := range b {
		if c == 0 {
			return string(b[:n])
		}
	}
	return string(b)
}
