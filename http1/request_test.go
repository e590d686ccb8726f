package http1

import (
	"fmt"
	"strings"
	"testing"
)

// TestRequest: a request is whole at its last byte, however it is read, not before and not
// after; and what is none never is.
func TestRequest(t *testing.T) {
	const host = "Host: x\r\n"
	long := strings.Repeat("x", 10_000)
	for _, c := range []struct {
		name, text string
		whole      bool
	}{
		{"GET", "GET / HTTP/1.1\r\n" + host + "\r\n", true},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", true},
		{"length", "POST /a HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\n12345", true},
		{"length 0", "PUT /a HTTP/1.1\r\n" + host + "content-length: 0\r\n\r\n", true},
		{"a request in the body", "POST / HTTP/1.1\r\n" + host + "Content-Length: 28\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nx", true},
		{"chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n12345\r\n1\r\nG\r\n0\r\nX: y\r\n\r\n", true},
		{"a long head", "GET / HTTP/1.1\r\n" + host + "Cookie: " + long + "\r\n\r\n", true},
		{"a method with a hyphen", "M-SEARCH * HTTP/1.1\r\n" + host + "\r\n", true},
		{"too long a head", "GET / HTTP/1.1\r\n" + host + "Cookie: " + long + long + "\r\n\r\n", false},
		{"an unknown coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n", false},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\n", false},
		{"text", "get / HTTP/1.1\r\n" + host + "\r\n", false},
		{"a response", "HTTP/1.1 200 OK\r\n" + host + "\r\n", false},
		{"binary", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", false},
		{"no version", "GET /\r\n\r\n", false},
		{"a malformed field", "GET / HTTP/1.1\r\nHost x\r\n\r\n", false},
		{"lengths that differ", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", false},
	} {
		for _, size := range []int{1, 2, 3, 7, 100, len(c.text)} {
			t.Run(fmt.Sprint(c.name, "/", size), func(t *testing.T) {
				var q, skips Request
				for at := 0; at < len(c.text); at += size {
					if q.Whole() {
						t.Fatalf("whole after %d of %d bytes", at, len(c.text))
					}
					piece := c.text[at:min(at+size, len(c.text))]
					q.Feed([]byte(piece))
					if !skips.Skip(uint64(len(piece))) {
						skips.Feed([]byte(piece))
					}
				}
				if q.Whole() != c.whole || skips.Whole() != c.whole {
					t.Errorf("whole: %v, with what could be skipped: %v; want %v", q.Whole(), skips.Whole(), c.whole)
				}
				if q.Whole() && q.None() {
					t.Error("whole, and none")
				}
				q.Feed([]byte("G"))
				if q.Whole() {
					t.Error("whole with a byte of the next one")
				}
			})
		}
	}
}

// FuzzRequest: whatever the pieces are, the answer is the same, and nothing fails.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		var once, pieces Request
		once.Feed(b)
		for size, rest := max(1, size), b; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			pieces.Feed(rest[:min(size, len(rest))])
		}
		if once.Whole() != pieces.Whole() {
			t.Errorf("%q: whole at once %v, in pieces of %d %v", b, once.Whole(), size, pieces.Whole())
		}
	})
}
