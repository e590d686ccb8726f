package fdtable

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// oneRequest asks for one TCP socket by its ends; the kernel answers with what
// it would give a segment to, which is the listening socket if the connection
// has gone. (struct inet_diag_req_v2 without NLM_F_DUMP, sock_diag(7).)
type oneRequest struct{ of Socket }

func (r oneRequest) Len() int { return diagRequestLen }

func (r oneRequest) Serialize() []byte {
	b := diagRequest{family: r.of.Family, protocol: unix.IPPROTO_TCP, states: ^uint32(0),
		sport: r.of.Local.Port(), ext: 1 << (inetDiagInfo - 1)}.Serialize()
	id := b[8:]
	binary.BigEndian.PutUint16(id[2:], r.of.Remote.Port())
	copy(id[4:20], r.of.Local.Addr().AsSlice())
	copy(id[20:36], r.of.Remote.Addr().AsSlice())
	binary.NativeEndian.PutUint32(id[36:], r.of.Device)
	return b
}

// Again returns those of the TCP connections that a dump gave which are still
// there, as they are now, with their flows. It costs some microseconds for each,
// and not, as a dump does, for each connection of the machine.
func Again(list []Socket) ([]Socket, error) {
	s, err := nl.Subscribe(unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	defer s.Close()
	if err := errors.Join(s.SetSendTimeout(&nl.SocketTimeoutTv), s.SetReceiveTimeout(&nl.SocketTimeoutTv)); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	sockets := map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: {Socket: s}}
	var out []Socket
	for _, c := range list {
		req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, 0)
		req.Sockets = sockets
		req.AddData(oneRequest{c})
		err := req.ExecuteIter(unix.NETLINK_INET_DIAG, 0, func(b []byte) bool {
			if now, ok := parseSocket(b); ok && now.Inode == c.Inode {
				out = append(out, now)
			}
			return true
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
	}
	return out, nil
}
