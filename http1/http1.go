// Package http1 follows what a server writes on one HTTP/1 connection and says
// how `Connection: close` gets into the next response head.
//
// It sees the bytes as they are written, in whatever pieces, and holds nothing
// back: each byte is passed, dropped or replaced when it comes. It makes no
// system call. What it is not sure of, it leaves alone: a response that is
// malformed, one that switches protocols, anything that is not HTTP/1.
//
// It does not know the requests. So it changes one head of a connection, the
// first final one (not 1xx) that comes, and none after: of what follows a
// response, nobody can be sure who does not know whether HEAD was asked.
package http1

// Edit says that Del bytes at Off of a piece are replaced by Ins. An edit
// either replaces one byte, or drops some (Ins is empty).
type Edit struct {
	Off, Del int
	Ins      string
}

// Parser is where a connection stands. The zero value expects a response
// head. It is a value: a copy goes its own way, which is how a caller finds out
// what to send before it knows how much of it will be taken.
type Parser struct {
	state state
	said  bool // a final head that says close, or means it, has passed
	heads int  // final ones that have passed

	// Of the head that is being read.
	pos    int // in the status line
	minor  byte
	status int
	name   [maxName]byte
	n      int // length of name
	kind   field
	has    bool // a close option was seen or put in

	// Of the field's value that is being read.
	token   int // bytes of the token so far
	keeps   bool
	keep    int // bytes of it that match keep-alive; they are not passed yet
	kept    [len(keepAlive)]byte
	matches bool // the token matches as far as it goes: close, or chunked
	tokens  int  // tokens seen in this value
	digits  int
	value   uint64

	length  uint64
	hasLen  bool
	hasTE   bool
	chunked bool   // the last transfer coding is chunked
	left    uint64 // bytes of the body, or of the chunk
}

type state uint8

const (
	inStatusLine state = iota
	inReason
	atName // at a line's first byte, or in a field's name
	inValue
	afterCR   // of a field's line
	blankLF   // after the CR of the blank line
	inBody    // left bytes
	inSize    // of a chunk
	inSizeExt // behind it
	inChunk   // left bytes
	chunkCR
	atTrailer // at the first byte of a trailer's line
	inTrailer
	trailerLF // after the CR of the last line
	untilClose
	upgraded
	lost
)

type field uint8

const (
	other field = iota
	connection
	contentLength
	transferEncoding
)

const (
	maxName   = 18 // longer than any name that matters
	keepAlive = "keep-alive"
	closes    = "close"
)

// Said reports whether a final head has passed that says close, by itself or
// by an edit.
func (p *Parser) Said() bool { return p.said }

// Heads is how many final heads (not 1xx) have passed.
func (p *Parser) Heads() int { return p.heads }

// Whole reports whether nothing of a response has begun that has not ended.
func (p *Parser) Whole() bool { return p.state == inStatusLine && p.pos == 0 }

// Lost reports that it can't tell any more where a head begins.
func (p *Parser) Lost() bool { return p.state == lost }

// Upgraded reports that the connection speaks another protocol since a 101.
func (p *Parser) Upgraded() bool { return p.state == upgraded }

// InHead reports whether a head is expected or has begun.
func (p *Parser) InHead() bool { return p.state <= blankLF }

// Chunked reports whether a chunked body is under way: its end can only be
// found by reading on.
func (p *Parser) Chunked() bool { return p.state >= inSize && p.state <= trailerLF }

// Left is how many bytes of a body of known length are still to come, or false
// if the response has no such body under way.
func (p *Parser) Left() (uint64, bool) { return p.left, p.state == inBody }

// Feed takes the next piece and appends the edits that it needs. If the piece
// breaks a head that began in it, the head is left as it is.
func (p *Parser) Feed(b []byte, edits []Edit) []Edit {
	keep := len(edits)             // up to here, they are of heads that are complete
	due := string(p.kept[:p.keep]) // of the pieces before
	for i := 0; i < len(b); {
		switch p.state {
		case inBody, inChunk:
			m := min(uint64(len(b)-i), p.left)
			p.left -= m
			i += int(m)
			if p.left == 0 {
				p.bodyPart()
			}
			continue
		case untilClose, upgraded, lost:
			return edits
		}
		if p.state == inStatusLine && p.pos == 0 {
			keep, due = len(edits), ""
		}
		e, ok := p.step(b[i])
		if !ok {
			p.state = lost
			if edits = edits[:keep]; due != "" {
				edits = append(edits, Edit{Off: 0, Del: 1, Ins: due + string(b[:1])})
			}
			return edits
		}
		switch {
		case e == pass:
		case e == drop:
			if n := len(edits); n > keep && edits[n-1].Ins == "" && edits[n-1].Off+edits[n-1].Del == i {
				edits[n-1].Del++
			} else {
				edits = append(edits, Edit{Off: i, Del: 1})
			}
		default:
			edits = append(edits, Edit{Off: i, Del: 1, Ins: string(e)})
		}
		i++
		if p.state > blankLF {
			keep, due = len(edits), ""
		}
	}
	return edits
}

// emission is what comes out for a byte that went in: the byte itself, nothing,
// or this.
type emission string

const (
	pass emission = "\x00pass"
	drop emission = ""
)

// step takes one byte. It reports false if it does not fit.
func (p *Parser) step(c byte) (emission, bool) {
	switch p.state {
	case inStatusLine:
		return pass, p.statusLine(c)
	case inReason:
		if c == '\n' {
			p.startLine()
		}
		return pass, c == '\n' || c == '\t' || c == '\r' || c >= ' '
	case atName:
		return p.fieldName(c)
	case inValue:
		return p.fieldValue(c)
	case afterCR:
		p.startLine()
		return pass, c == '\n'
	case blankLF:
		p.endHead()
		return pass, c == '\n'
	}
	return pass, p.chunkStep(c)
}

// statusLine matches "HTTP/1.x nnn" and what ends it (RFC 9112, 4).
func (p *Parser) statusLine(c byte) bool {
	const form = "HTTP/1.d ddd"
	pos := p.pos
	p.pos++
	if pos == 0 {
		*p = Parser{said: p.said, heads: p.heads, pos: 1}
	}
	if pos == len(form) {
		switch c {
		case ' ', '\r':
			p.state = inReason
		case '\n':
			p.startLine()
		default:
			return false
		}
		return p.status >= 100 && p.status < 600
	}
	if form[pos] != 'd' {
		return c == form[pos]
	}
	if c < '0' || c > '9' {
		return false
	}
	if pos == len("HTTP/1.") {
		p.minor = c - '0'
	} else {
		p.status = p.status*10 + int(c-'0')
	}
	return true
}

func (p *Parser) startLine() {
	p.state, p.n = atName, 0
}

// final reports whether the head that is being read is one that may say close.
func (p *Parser) final() bool { return p.status >= 200 && !p.said }

// endHead decides what follows the head (RFC 9112, 6.3).
func (p *Parser) endHead() {
	p.pos = 0
	if p.status >= 200 {
		p.heads++
		// HTTP/1.0 closes unless it says otherwise, and then an edit said close.
		p.said = p.said || p.has || p.minor == 0
	}
	switch {
	case p.status == 101:
		p.state = upgraded
	case p.status < 200, p.status == 204, p.status == 304:
		p.state = inStatusLine
	case p.hasTE && p.chunked:
		p.startChunk()
	case p.hasTE, !p.hasLen:
		p.state = untilClose
	case p.length == 0:
		p.state = inStatusLine
	default:
		p.state, p.left = inBody, p.length
	}
}

// bodyPart is after the last byte of a body or of a chunk.
func (p *Parser) bodyPart() {
	if p.state == inChunk {
		p.state = chunkCR
		return
	}
	p.state, p.pos = inStatusLine, 0
}
