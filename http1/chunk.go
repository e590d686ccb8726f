package http1

// startChunk is before the size of a chunk.
func (p *Parser) startChunk() {
	p.state, p.left, p.digits = inSize, 0, 0
}

// chunkStep takes a byte of a chunked body that is not a chunk's data (RFC
// 9112, 7.1), trailers included.
func (p *Parser) chunkStep(c byte) bool {
	switch p.state {
	case inSize:
		if v, ok := hex(c); ok {
			const limit = 1 << 56
			p.digits++
			p.left = p.left<<4 | uint64(v)
			return p.left < limit
		}
		if p.digits == 0 || c != '\r' && c != '\n' && c != ';' && c != ' ' && c != '\t' {
			return false
		}
		p.state = inSizeExt
		fallthrough
	case inSizeExt:
		if c != '\n' {
			return true
		}
		if p.state = inChunk; p.left == 0 {
			p.state = atTrailer
		}
	case chunkCR:
		if c == '\n' {
			p.startChunk()
		}
		return c == '\r' || c == '\n'
	case atTrailer:
		switch c {
		case '\r':
			p.state = trailerLF
		case '\n':
			p.state, p.pos = inStatusLine, 0
		default:
			p.state = inTrailer
		}
	case inTrailer:
		if c == '\n' {
			p.state = atTrailer
		}
	case trailerLF:
		p.state, p.pos = inStatusLine, 0
		return c == '\n'
	}
	return true
}

func hex(c byte) (byte, bool) {
	switch c = lower(c); {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
