package http1

import (
	"bufio"
	"bytes"
	"net/http"
)

// Request is one request that is followed as the server reads it. The zero value
// expects its head.
type Request struct {
	head []byte // as far as it has come
	body Parser // of the body, whose framing is a response's
	kind requestState
}

type requestState uint8

const (
	inHead requestState = iota
	behindHead
	noRequest
)

// longestHead is how long a request's head may be, in bytes; servers allow 8 to
// 16 KiB.
const longestHead = 16 << 10

// Feed takes the next bytes. Of a body that Skip can pass over, they need not be
// fed.
func (q *Request) Feed(b []byte) {
	if q.kind == inHead {
		seen := len(q.head)
		q.head = append(q.head, b[:min(len(b), longestHead-seen)]...)
		const blank = "\r\n\r\n"
		// The blank line may have begun before.
		from := max(0, seen-len(blank)+1)
		end := bytes.Index(q.head[from:], []byte(blank))
		switch {
		case !startsRequest(q.head), end < 0 && len(q.head) == longestHead:
			q.kind = noRequest
		case end >= 0:
			end += from + len(blank)
			b = b[end-seen:]
			q.begin(q.head[:end])
		}
		if q.kind != inHead {
			q.head = nil
		}
	}
	if q.kind == behindHead {
		q.body.Feed(b, nil)
	}
}

// Skip passes over n bytes without having seen them. It reports whether it could:
// they are of a body whose length is known.
func (q *Request) Skip(n uint64) bool {
	left, counted := q.body.Left()
	if q.kind != behindHead || !counted || n > left {
		return false
	}
	if q.body.left -= n; q.body.left == 0 {
		q.body.bodyPart()
	}
	return true
}

// Whole reports whether what was fed is one request, all of it, and nothing more.
func (q *Request) Whole() bool { return q.kind == behindHead && q.body.Whole() }

// None reports that it is no request that could be followed.
func (q *Request) None() bool {
	return q.kind == noRequest || q.kind == behindHead && q.body.Lost()
}

// begin is for a whole head.
func (q *Request) begin(head []byte) {
	q.kind = noRequest
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil || r.ProtoMajor != 1 {
		return
	}
	switch {
	case len(r.TransferEncoding) > 0: // chunked: others are an error
		q.body = Parser{chunked: true}
		q.body.startChunk()
	case r.ContentLength > 0:
		q.body = Parser{state: inBody, left: uint64(r.ContentLength)}
	}
	q.kind = behindHead
}

// startsRequest reports whether b, which may be short, is how a request begins: a
// method of capital letters, as all registered ones are but for hyphens, and a space.
func startsRequest(b []byte) bool {
	const longest = 20 // UPDATEREDIRECTREF has 17
	for n, c := range b {
		switch {
		case c == ' ':
			return n > 0
		case n >= longest || (c < 'A' || c > 'Z') && c != '-':
			return false
		}
	}
	return true
}
