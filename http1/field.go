package http1

// fieldName is a byte at the beginning of a line or in a field's name.
func (p *Parser) fieldName(c byte) (emission, bool) {
	switch {
	case p.n == 0 && (c == '\r' || c == '\n'):
		return p.blank(c), true
	case p.n == 0 && (c == ' ' || c == '\t'):
		// A folded line (RFC 9112, 5.2): whose value it goes on with was decided
		// already. None of those that matter is ever folded.
		if p.kind != other {
			return pass, false
		}
		p.state = inValue
		return pass, true
	case c == ':':
		p.startValue()
		return pass, p.n > 0
	case !isToken(c):
		return pass, false
	}
	if p.n < maxName {
		p.name[p.n] = lower(c)
		p.n++
	}
	return pass, true
}

// blank is the first byte of the line that ends the head. If the head has no
// close option by now, it gets one.
func (p *Parser) blank(c byte) emission {
	e, end := pass, "\r\n"
	if c == '\n' {
		end = "\n"
	}
	// HTTP/1.0 closes unless it says otherwise.
	if p.final() && !p.has && p.minor > 0 {
		p.has = true
		e = emission("Connection: close" + end + string(c))
	}
	if c == '\n' {
		p.endHead()
	} else {
		p.state = blankLF
	}
	return e
}

func (p *Parser) startValue() {
	p.state = inValue
	p.kind = other
	switch string(p.name[:p.n]) {
	case "connection":
		p.kind = connection
	case "content-length":
		p.kind = contentLength
	case "transfer-encoding":
		p.kind = transferEncoding
	}
	p.token, p.keep, p.keeps, p.matches = 0, 0, false, false
	p.tokens, p.digits, p.value = 0, 0, 0
}

// fieldValue is a byte of a field's value, or the end of its line.
func (p *Parser) fieldValue(c byte) (emission, bool) {
	if c < ' ' && c != '\t' && c != '\r' && c != '\n' {
		return pass, false
	}
	e, ok := pass, true
	switch p.kind {
	case connection:
		if p.final() {
			e = p.option(c)
		}
	case contentLength:
		ok = p.lengthByte(c)
	case transferEncoding:
		p.coding(c)
	}
	switch c {
	case '\r':
		p.state = afterCR
	case '\n':
		p.startLine()
	}
	return e, ok
}

// option is a byte of a Connection field. keep-alive is not passed until its
// end shows that it is that: then it becomes close.
func (p *Parser) option(c byte) emission {
	if !isToken(c) {
		return p.endOption(c)
	}
	if p.token == 0 {
		p.keeps, p.matches, p.keep = true, true, 0
		p.tokens++
	}
	p.matches = p.matches && p.token < len(closes) && lower(c) == closes[p.token]
	fits := p.keeps && p.token < len(keepAlive) && lower(c) == keepAlive[p.token]
	p.token++
	switch {
	case fits:
		p.kept[p.keep] = c
		p.keep++
		return drop
	case p.keeps: // it only began like it, if at all
		began := p.giveBack()
		if p.keeps = false; began != "" {
			return emission(began + string(c))
		}
	}
	return pass
}

// giveBack is what was kept back of an option.
func (p *Parser) giveBack() string {
	s := string(p.kept[:p.keep])
	p.keep = 0
	return s
}

// endOption is the byte behind an option, or one between options.
func (p *Parser) endOption(c byte) emission {
	out := ""
	switch {
	case p.token == 0:
	case p.keeps && p.keep == len(keepAlive):
		if !p.has {
			out = closes
		}
		p.has = true
	case p.keeps && p.keep > 0: // a beginning of it, and no more
		out = p.giveBack()
	case p.matches && p.token == len(closes):
		p.has = true
	}
	p.token, p.keep, p.keeps = 0, 0, false
	if (c == '\r' || c == '\n') && !p.has {
		p.has = true
		switch {
		case p.tokens > 0:
			out += ", " + closes
		default:
			out += " " + closes
		}
	}
	if out == "" {
		return pass
	}
	return emission(out + string(c))
}

// lengthByte is a byte of a Content-Length field. Several that differ, or a
// list, is a response that nobody should trust (RFC 9112, 6.3).
func (p *Parser) lengthByte(c byte) bool {
	switch {
	case c >= '0' && c <= '9':
		const limit = 1 << 60
		if p.token > 0 || p.value > limit {
			return false
		}
		p.digits++
		p.value = p.value*10 + uint64(c-'0')
	case c == ' ' || c == '\t':
		if p.digits > 0 {
			p.token = 1 // nothing but space may follow
		}
	case c == '\r' || c == '\n':
		if p.digits == 0 || p.hasLen && p.length != p.value {
			return false
		}
		p.hasLen, p.length = true, p.value
	default:
		return false
	}
	return true
}

// coding is a byte of a Transfer-Encoding field: is the last one chunked?
func (p *Parser) coding(c byte) {
	const chunked = "chunked"
	p.hasTE = true
	if !isToken(c) {
		if p.token > 0 {
			p.chunked = p.matches && p.token == len(chunked)
		}
		p.token = 0
		return
	}
	if p.token == 0 {
		p.matches = true
	}
	p.matches = p.matches && p.token < len(chunked) && lower(c) == chunked[p.token]
	p.token++
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// isToken is tchar of RFC 9110, 5.6.2.
func isToken(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}
