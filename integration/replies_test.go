package integration

import (
	encoding "encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Operations of testdata/c/replies.c.
const (
	opWrite = iota
	opWritev
	opSendto
	opSendmsg
	opSendfile
	opMore
	opThread
	opNonBlock
	opWait
	opSmall
	opDontWait
	opUpload
)

// headCalls are those that a head may be written by.
var headCalls = []uint32{opWrite, opWritev, opSendto, opSendmsg, opMore, opThread, opNonBlock, opDontWait}

// reply is a response as the server is told to write it.
type reply struct {
	head, body string
	closed     string // the head with close in it; "": it must never have it
	may        bool   // it was asked for while the server drained
	says       bool   // it closes by itself
	like       string // in words
}

// TestReplies: random responses, by every call and in every splitting, come
// out of a generation that drains as they went in, byte by byte, but for
// Connection: close in the head of one of each connection. Each call of the
// server returns what it would have returned.
func TestReplies(t *testing.T) {
	t.Parallel()
	const each = 10
	conns := max(50, scale(1000))
	s := newSite(t, c("replies", "replies"))
	s.deploy("v0")
	i := launchAt(t, s.dir, launch{flags: []string{"--drain-timeout", "never", "--idle-grace", "1h"}, argv: s.argv()})
	dial := func() net.Conn {
		var conn net.Conn
		await(t, "a connection", func() (ok bool) {
			var err error
			conn, err = net.Dial("tcp", s.address())
			return err == nil
		})
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	canary := dial()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var talks []*talk
	for n := range conns {
		k := &talk{conn: dial(), r: rand.New(rand.NewPCG(seed, uint64(n)))}
		talks = append(talks, k)
		switch n % 3 {
		case 0: // joined in the middle of a response
			if n%2 == 0 { // …that is written while the client uploads
				k.uploads()
			}
			k.ask([]reply{k.joined()}, true)
		case 1: // joined between two
			k.ask([]reply{k.random()}, false)
			k.asked[0].may = false
			if err := k.check(0); err != nil {
				t.Fatal(err)
			}
			k.over, k.asked = false, nil // nobody was looking
		}
	}
	i.restart()
	simple := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	await(t, "a response that says close", func() bool {
		k := &talk{conn: canary, r: rand.New(rand.NewPCG(1, 1))}
		k.ask([]reply{{head: simple}}, false)
		b := make([]byte, len(simple))
		io.ReadFull(canary, b)
		if string(b) == simple {
			return false
		}
		return true
	})
	i.status() // the connections are all known by now
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	told, could, replies := 0, 0, 0
	limit := make(chan bool, 32)
	for n, k := range talks {
		wg.Go(func() {
			limit <- true
			defer func() { <-limit }()
			err := k.talk(each)
			mu.Lock()
			defer mu.Unlock()
			replies += k.replies
			if k.could {
				could++
			}
			if k.told {
				told++
			}
			if err != nil && t.Context().Err() == nil {
				t.Errorf("connection %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	t.Logf("stops %v", i.status().Stops)
	t.Logf("%d responses on %d connections; %d of %d that could be told to close were told", replies, conns, told, could)
	if told != could {
		t.Errorf("%d connections were told to close, of %d", told, could)
	}
	for _, k := range talks {
		k.conn.Close()
	}
	canary.Close()
}

// talk is a client of one connection.
type talk struct {
	conn    net.Conn
	r       *rand.Rand
	asked   []reply
	told    bool
	could   bool // a response came in which it should have been told
	left    bool
	over    bool // a response said close by itself
	replies int
	upload  []string // what it sends between the pieces of a response
}

// talk asks for responses, some of them several at once, and compares.
func (k *talk) talk(n int) error {
	k.conn.SetDeadline(time.Now().Add(4 * patience))
	if len(k.asked) > 0 {
		go k.send(k.upload)
		k.upload = nil
		if err := k.check(0); err != nil {
			return err
		}
		if k.told || k.could {
			return fmt.Errorf("a response that had begun before was told to close")
		}
	}
	for k.replies < n && !k.left {
		var some []reply
		for range 1 + k.r.IntN(3)*k.r.IntN(2) {
			some = append(some, k.random())
		}
		k.ask(some, false)
		pause := time.Duration(0)
		if k.r.IntN(20) == 0 {
			pause = 20 * time.Millisecond // the server's socket fills up
		}
		if err := k.check(pause); err != nil {
			return err
		}
	}
	return nil
}

// ask sends a script that makes the server write these replies. joined: it
// waits in the middle of the body.
func (k *talk) ask(some []reply, joined bool) {
	var script []byte
	op := func(what uint32, b string) {
		script = encoding.LittleEndian.AppendUint32(script, what)
		script = encoding.LittleEndian.AppendUint32(script, uint32(len(b)))
		script = append(script, b...)
	}
	if k.r.IntN(10) == 0 {
		op(opSmall, "")
	}
	for _, r := range some {
		all, keep := r.head+r.body, len(r.head)
		if joined {
			op(opWrite, r.head+r.body[:10])
			op(opWait, "")
			all, keep = r.body[10:], 0
		}
		call := func(from int) uint32 {
			if from >= keep && k.r.IntN(4) == 0 && !joined {
				return opSendfile
			}
			return headCalls[k.r.IntN(len(headCalls))]
		}
		size := len(all) // of a piece
		switch k.r.IntN(8) {
		case 0:
			size = 1
		case 1, 2:
			size = 1 + k.r.IntN(40)
		case 3, 4:
			size = keep + 1 + k.r.IntN(len(all)+1)
		}
		if joined {
			// Each piece looks like a head.
			size = len(lookalike)
		}
		for at := 0; at < len(all); {
			n := min(len(all)-at, size)
			if at >= keep+100 && !joined {
				n = min(len(all)-at, 200_000) // the body of a long one in few
			}
			if at < keep && at+n > keep && k.r.IntN(2) == 0 {
				n = keep - at
			}
			if joined && len(k.upload) > 0 {
				op(opUpload, string(encoding.LittleEndian.AppendUint32(nil, uint32(len(k.upload[at/size])))))
			}
			op(call(at), all[at:at+n])
			at += n
		}
	}
	k.asked = some
	k.conn.Write(request(script, len(strings.Join(k.upload, ""))))
}

// request is a script as testdata/c/replies.c wants it; so many bytes of an upload follow.
func request(script []byte, more int) []byte {
	head := fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %010d\r\n\r\n", 4+len(script)+more)
	return append(encoding.LittleEndian.AppendUint32(head, uint32(len(script))), script...)
}

// lookalikes is of how many heads the body of a joined reply consists.
const lookalikes = 20

// uploads gives it something to send while it is answered: nothing of it is a request.
func (k *talk) uploads() {
	for range lookalikes {
		k.upload = append(k.upload, []string{
			"x", strings.Repeat("y", 3000), lookalike, "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\nx", "get / HTTP/1.1\r\n\r\n",
			"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n", "\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET /\r\n\r\n",
		}[k.r.IntN(10)])
	}
}

// send uploads these pieces, which the server reads one by one.
func (k *talk) send(pieces []string) {
	for _, piece := range pieces {
		io.WriteString(k.conn, piece)
		time.Sleep(time.Millisecond)
	}
}

// check reads what was asked for.
func (k *talk) check(pause time.Duration) error {
	time.Sleep(pause)
	for n, r := range k.asked {
		k.replies++
		got, err := k.head(r)
		if n == 0 && (k.told || k.over) && err == io.EOF {
			k.left = true // this client is slow, and was closed after it had been told
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.like, err)
		}
		switch {
		case got != r.head && k.told:
			return fmt.Errorf("%s: got %q though the connection was told before", r.like, got)
		case got != r.head:
			k.told, k.could = true, true
		case r.says:
			k.over = true // by itself: nothing needs to be done to it from here on
		case n == 0 && r.closed != "" && !k.over && r.may:
			k.could = true
		}
		body := make([]byte, len(r.body))
		if _, err := io.ReadFull(k.conn, body); err != nil {
			return fmt.Errorf("%s: the body: %w", r.like, err)
		}
		if string(body) != r.body {
			n := 0
			for n < len(body) && body[n] == r.body[n] {
				n++
			}
			return fmt.Errorf("%s: the body differs at %d of %d: %.80q", r.like, n, len(body), body[n:])
		}
	}
	return nil
}

// head reads the head of r, as it is or as it is with close in it.
func (k *talk) head(r reply) (string, error) {
	var got []byte
	b := make([]byte, 1)
	for string(got) != r.head && (string(got) != r.closed || r.closed == "") {
		if _, err := io.ReadFull(k.conn, b); err != nil {
			if len(got) == 0 {
				return "", err
			}
			return "", fmt.Errorf("%w after %q", err, got)
		}
		got = append(got, b[0])
		if !strings.HasPrefix(r.head, string(got)) && !strings.HasPrefix(r.closed, string(got)) {
			return "", fmt.Errorf("got %q\nnot %q", got, r.head)
		}
	}
	return string(got), nil
}

// lookalike is what must not be taken for a head where it is none.
const lookalike = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// joined is a reply whose body consists of heads.
func (k *talk) joined() reply {
	body := strings.Repeat("x", 10) + strings.Repeat(lookalike, lookalikes)
	return reply{head: fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)), body: body, like: "joined"}
}

func (k *talk) body() string {
	n := k.r.IntN(300)
	if k.r.IntN(500) == 0 {
		n = 10 << 20
	}
	var b strings.Builder
	for b.Len() < n {
		switch k.r.IntN(4) {
		case 0:
			b.WriteString(lookalike)
		case 1:
			b.WriteString("\r\n\r\n")
		default:
			b.WriteString(strings.Repeat(string(rune('a'+k.r.IntN(26))), 1+n/50))
		}
	}
	return b.String()
}

// random is some reply.
func (k *talk) random() reply {
	fields := []string{"Server: x", "X-Connection: keep-alive"}
	end, version, status := "\r\n", "1.1", "200 OK"
	option := []string{"", "", "keep-alive", "Keep-Alive", "Upgrade, keep-alive", "close", "x"}[k.r.IntN(7)]
	r := reply{may: true}
	before := ""
	switch k.r.IntN(12) {
	case 0:
		r.like, status = "204", "204 No Content"
	case 1:
		r.like, status = "304", "304 Not Modified"
		fields = append(fields, "Content-Length: 1000")
	case 2:
		r.like = "HEAD"
		fields = append(fields, "content-length: 100")
	case 3:
		r.like, version, r.body = "1.0", "1.0", k.body()
		fields = append(fields, fmt.Sprintf("Content-Length: %d", len(r.body)))
	case 4:
		r.like, before, r.body = "100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nConnection: keep-alive\r\n\r\n", k.body()
		fields = append(fields, fmt.Sprintf("Content-Length: %d", len(r.body)))
	case 5, 6:
		r.like, r.body = "chunked", k.chunks()
		fields = append(fields, "Transfer-Encoding: chunked")
	case 7:
		r.like, end, r.body = "LF alone", "\n", k.body()
		fields = append(fields, fmt.Sprintf("Content-Length: %d", len(r.body)))
	case 8:
		r.like, r.body = "malformed", k.body()
		r.head = []string{"HTTP/1.1 2x0 OK\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 OK\r\nBad Field\r\nConnection: keep-alive\r\n\r\n",
			"HTTP/1.1 200 OK\r\n: no name\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n"}[k.r.IntN(5)]
		return r
	default:
		r.like, r.body = "length", k.body()
		fields = append(fields, fmt.Sprintf("Content-Length: %d", len(r.body)))
	}
	k.r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	build := func(option string) string {
		out := []string{"HTTP/" + version + " " + status}
		if option != "" {
			out = append(out, fields[0], "Connection: "+option)
			out = append(out, fields[1:]...)
		} else {
			out = append(out, fields...)
		}
		return before + strings.Join(out, end) + end + end
	}
	r.head = build(option)
	r.says = option == "close" || version == "1.0" && !strings.Contains(strings.ToLower(option), "keep-alive") && option != "x"
	switch {
	case r.says:
	case option == "":
		r.closed = strings.TrimSuffix(r.head, end) + "Connection: close" + end + end
	case option == "x":
		r.closed = build("x, close")
	default:
		r.closed = build(strings.NewReplacer("keep-alive", "close", "Keep-Alive", "close").Replace(option))
	}
	return r
}

// chunks is a chunked body, with or without trailers.
func (k *talk) chunks() string {
	var b strings.Builder
	for range k.r.IntN(5) {
		if data := k.body(); data != "" {
			fmt.Fprintf(&b, "%x;x=y\r\n%s\r\n", len(data), data)
		}
	}
	b.WriteString("0\r\n")
	if k.r.IntN(2) == 0 {
		b.WriteString("Connection: keep-alive\r\nX: HTTP/1.1 200 OK\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// TestStalledClient: a client that takes nothing for a while, in the middle of a
// chunked response that is written by one call that blocks, gets it whole.
func TestStalledClient(t *testing.T) {
	t.Parallel()
	s := newSite(t, c("replies", "replies"))
	i := launchAt(t, s.dir, launch{flags: []string{"--drain-timeout", "never", "--idle-grace", "1h"}, argv: s.argv()})
	dial := func() (conn net.Conn) {
		await(t, "a connection", func() bool {
			var err error
			conn, err = net.Dial("tcp", s.address())
			return err == nil
		})
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(2 * patience))
		return conn
	}
	write := func(conn net.Conn, b string) {
		script := encoding.LittleEndian.AppendUint32(nil, opWrite)
		script = encoding.LittleEndian.AppendUint32(script, uint32(len(b)))
		conn.Write(request(append(script, b...), 0))
	}
	canary, stalled := dial(), dial()
	i.restart()
	const simple = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	await(t, "a response that says close", func() bool {
		write(canary, simple)
		b := make([]byte, len(simple))
		io.ReadFull(canary, b)
		return string(b) != simple
	})
	const length = 8 << 20
	chunk := fmt.Sprintf("%x\r\n%s\r\n", length, strings.Repeat("0123456789abcdef", length/16))
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	write(stalled, head+"\r\n"+chunk+chunk+"0\r\n\r\n")
	time.Sleep(4 * time.Second)
	want := head + "Connection: close\r\n\r\n" + chunk + chunk + "0\r\n\r\n"
	got := make([]byte, len(want))
	if n, err := io.ReadFull(stalled, got); err != nil || string(got) != want {
		at := 0
		for at < n && got[at] == want[at] {
			at++
		}
		t.Errorf("%d of %d bytes came (%v); they differ at %d", n, len(want), err, at)
	}
	if n := i.says("gave"); n > 0 {
		t.Error("the call did not return what it would have")
	}
	canary.Close()
	stalled.Close()
}
