package http1

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// feed gives text to a parser in pieces and returns what comes out.
func feed(p *Parser, pieces ...string) string {
	var out strings.Builder
	for _, piece := range pieces {
		out.Write(Apply([]byte(piece), p.Feed([]byte(piece), nil)))
	}
	return out.String()
}

const chunks = "5\r\nHTTP/\r\n11;x=y\r\n1.1 200 OK\r\n\r\nabc\r\n0\r\n"

var cases = []struct {
	name, in, want string // want "": as it was
	said, whole    bool
	lost, upgraded bool
}{
	{"added", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", true, true, false, false},
	{"keep-alive", "HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", true, true, false, false},
	{"keep-alive among others", "HTTP/1.1 200 OK\r\nconnection: Upgrade, keep-alive , x\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nconnection: Upgrade, close , x\r\nContent-Length: 0\r\n\r\n", true, true, false, false},
	{"other options", "HTTP/1.1 200 OK\r\nConnection: Keep-Alivex, Kept\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: Keep-Alivex, Kept, close\r\nContent-Length: 0\r\n\r\n", true, true, false, false},
	{"half an option", "HTTP/1.1 200 OK\r\nConnection: Keep-\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: Keep-, close\r\nContent-Length: 0\r\n\r\n", true, true, false, false},
	{"no option", "HTTP/1.1 200 OK\r\nConnection:\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", true, true, false, false},
	{"close already", "HTTP/1.1 200 OK\r\nConnection:close\r\nContent-Length: 0\r\n\r\n", "", true, true, false, false},
	{"twice", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: \r\nContent-Length: 0\r\n\r\n", true, true, false, false},
	{"1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "", true, true, false, false},
	{"1.0 kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
		"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", true, true, false, false},
	{"until close", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", true, false, false, false},
	{"204", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", true, true, false, false},
	{"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nConnection: close\r\n\r\n", true, true, false, false},
	{"100 continue", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nConnection: keep-alive\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nConnection: keep-alive\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true, true, false, false},
	{"101", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "", false, false, false, true},
	{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n" + chunks + "\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nConnection: close\r\n\r\n" + chunks + "\r\n", true, true, false, false},
	{"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "Connection: keep-alive\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks + "Connection: keep-alive\r\n\r\n", true, true, false, false},
	{"body like a head", "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 19\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", true, true, false, false},
	{"the second is left alone", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true, true, false, false},
	{"LF alone", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n", true, true, false, false},
	{"no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true, true, false, false},
	{"not HTTP", "220 smtp\r\n\r\n", "", false, false, true, false},
	{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "", false, false, true, false},
	{"two lengths", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "", false, false, true, false},
	{"no name", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n: x\r\n\r\n", "", false, false, true, false},
	{"folded", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true, true, false, false},
	{"folded option", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n , x\r\n\r\n", "", false, false, true, false},
}

func TestCases(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == "" {
				want = c.in
			}
			var p Parser
			if got := feed(&p, c.in); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if p.Said() != c.said || p.Whole() != c.whole || p.Lost() != c.lost || p.Upgraded() != c.upgraded {
				t.Errorf("said %v, whole %v, lost %v, upgraded %v", p.Said(), p.Whole(), p.Lost(), p.Upgraded())
			}
		})
	}
}

// TestEverySplit: in two pieces at every place, and byte by byte, a right
// response comes out the same.
func TestEverySplit(t *testing.T) {
	for _, c := range cases {
		if c.lost {
			continue
		}
		want := c.want
		if want == "" {
			want = c.in
		}
		for n := range len(c.in) {
			var p Parser
			if got := feed(&p, c.in[:n], c.in[n:]); got != want {
				t.Errorf("%s, at %d: got  %q\nwant %q", c.name, n, got, want)
			}
		}
		var p Parser
		if got := feed(&p, strings.Split(c.in, "")...); got != want {
			t.Errorf("%s, byte by byte: got  %q\nwant %q", c.name, got, want)
		}
	}
}

// TestMalformedSplit: a head that turns out to be malformed later still has
// each of its bytes, whatever was put in.
func TestMalformedSplit(t *testing.T) {
	for _, c := range cases {
		if !c.lost {
			continue
		}
		for n := range len(c.in) {
			var p Parser
			got := feed(&p, c.in[:n], c.in[n:])
			if rest, ok := without(got, c.in); !ok {
				t.Errorf("%s, at %d: got %q, and of the input is missing %q", c.name, n, got, rest)
			}
		}
	}
}

// without takes in out of out, byte by byte and in order, where close may
// stand for keep-alive.
func without(out, in string) (missing string, ok bool) {
	in = strings.Replace(strings.ToLower(in), "keep-alive", "close", 1)
	out = strings.Replace(strings.ToLower(out), "keep-alive", "close", 1)
	for n := range len(out) {
		if in != "" && out[n] == in[0] {
			in = in[1:]
		}
	}
	return in, in == ""
}

// TestTaken: wherever the kernel stops taking, what is written again goes on
// as if nothing had happened.
func TestTaken(t *testing.T) {
	for _, c := range cases {
		if c.want == "" {
			continue
		}
		for n := range len(c.want) {
			for _, m := range []int{1, 2, 1000} {
				if got := trickle(c.in, n, m); got != c.want {
					t.Errorf("%s, %d bytes and then %d at a time: got %q", c.name, n, m, got)
				}
			}
		}
	}
}

// trickle sends text to somebody who takes first bytes, and then rest at a time.
func trickle(text string, first, rest int) string {
	var sent bytes.Buffer
	var p Parser
	begun, take := 0, first
	for steps := 0; text != "" && steps < 10000; steps++ {
		q := p
		b := []byte(text)
		edits := q.Feed(b, nil)
		out := Apply(b, edits)[begun:]
		n := min(take, len(out))
		sent.Write(out[:n])
		whole, more := Taken(len(b), edits, n+begun)
		p.Feed(b[:whole], nil)
		text, begun, take = text[whole:], more, rest
	}
	return sent.String()
}

// FuzzFeed: whatever is written, in whatever pieces, nothing but the head of
// the first response is changed, and by no more than its Connection fields.
func FuzzFeed(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.in), uint16(7), uint16(30))
	}
	f.Fuzz(func(t *testing.T, in []byte, a, b uint16) {
		i, j := min(int(a), len(in)), min(int(b), len(in))
		if i > j {
			i, j = j, i
		}
		var p Parser
		got := feed(&p, string(in[:i]), string(in[i:j]), string(in[j:]))
		head, body := split(in)
		if !strings.HasSuffix(got, body) {
			t.Fatalf("%q became %q: the body is %q", in, got, body)
		}
		want, ok := normal(head)
		if have, ok2 := normal(got[:len(got)-len(body)]); ok && ok2 && have != want {
			t.Fatalf("%q became %q: %q is not %q", in, got, have, want)
		}
		var q Parser
		if whole := feed(&q, string(in)); !p.Lost() && whole != got {
			t.Fatalf("%q in pieces became %q, whole %q", in, got, whole)
		}
	})
}

// split is all heads up to the first final one, and what follows it.
func split(in []byte) (head, body string) {
	rest := string(in)
	for {
		n := strings.Index(rest, "\n\r\n")
		m := strings.Index(rest, "\n\n")
		switch {
		case n < 0 && m < 0:
			return string(in), ""
		case n < 0 || m >= 0 && m < n:
			n = m + 2
		default:
			n += 3
		}
		informational := strings.HasPrefix(rest, "HTTP/1.") && len(rest) > 9 && rest[9] == '1'
		if rest = rest[n:]; !informational {
			return string(in[:len(in)-len(rest)]), rest
		}
	}
}

// normal is a head without its Connection fields.
func normal(head string) (string, bool) {
	var out strings.Builder
	for line := range strings.Lines(head) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(name, "connection") {
			if strings.Contains(value, "\r") && !strings.HasSuffix(value, "\r\n") {
				return "", false
			}
			continue
		}
		fmt.Fprint(&out, line)
	}
	return out.String(), true
}
