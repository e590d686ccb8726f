package http1

// Apply is piece b with its edits made.
func Apply(b []byte, edits []Edit) []byte {
	out := make([]byte, 0, len(b)+32)
	at := 0
	for _, e := range edits {
		out = append(out, b[at:e.Off]...)
		out = append(out, e.Ins...)
		at = e.Off + e.Del
	}
	return append(out, b[at:]...)
}

// Taken says how much of a piece of size bytes is taken when n bytes of what
// Apply made of it were sent: whole bytes, and how many of the replacement of
// the next one. Whoever wrote the piece is to be told of the former alone; when
// they write the rest, the latter have gone already.
func Taken(size int, edits []Edit, n int) (whole, begun int) {
	at := 0
	for _, e := range edits {
		if n < e.Off-at {
			return at + n, 0
		}
		n -= e.Off - at
		if n < len(e.Ins) {
			return e.Off, n
		}
		n -= len(e.Ins)
		at = e.Off + e.Del
	}
	return min(at+n, size), 0
}
