package twin

import "golang.org/x/sys/unix"

// Option is a socket option and its value (setsockopt(2)).
type Option struct {
	Level, Name int
	Value       []byte
}

// Request says what the twin of a socket is to be.
type Request struct {
	Domain, Type, Protocol int
	Address                []byte   // as getsockname(2) gives it
	Backlog                int      // of listen(2); below 0: it does not listen
	Options                []Option // that the bind wants to be set before; what can't be set is left
}

// most is how many twins one child makes: each namespace costs the kernel a tenth of a
// millisecond, and some memory.
const most = 256

// answer is what the child says of one request. With it come the socket and, for a Unix
// socket with a path, its file.
type answer struct {
	Error string
	Space int // in which of its network namespaces it is
}

// connectors, in a message of their own, are sockets in one of the network namespaces, by
// which its twins can be reached.
type connectors struct {
	Space, Domain, Type int
}

// message is what the child writes: one or the other.
type message struct {
	Answer     *answer
	Connectors *connectors
}

// connectorsOf is how many connectors there are in a namespace for a family and type. Those
// of TCP can be used again.
func connectorsOf(domain int) int {
	if domain == unix.AF_UNIX {
		return 16
	}
	return 4
}
