package tracer

import (
	"bytes"
	"testing"
)

// TestExecArgs reads back what the kernel would.
func TestExecArgs(t *testing.T) {
	const base = 0x7f0000001000
	var a execArgs
	path := a.add("/bin/prog")
	argv, none, env := a.addAll([]string{"prog", "", "-x"}), a.addAll(nil), a.addAll([]string{"A=\xff", "odd"})
	b := a.bytes(base)
	if uint64(len(b)) != a.size() {
		t.Errorf("%d bytes, not %d", len(b), a.size())
	}
	text := func(addr uint64) string {
		rest := b[addr-base:]
		return string(rest[:bytes.IndexByte(rest, 0)])
	}
	if got := text(base + path); got != "/bin/prog" {
		t.Error(got)
	}
	for n, want := range map[int][]string{argv: {"prog", "", "-x"}, none: nil, env: {"A=\xff", "odd"}} {
		at := a.at(n)
		if at%8 != 0 {
			t.Errorf("array %d is at %d", n, at)
		}
		for _, w := range want {
			if got := text(order.Uint64(b[at:])); got != w {
				t.Errorf("array %d has %q, not %q", n, got, w)
			}
			at += 8
		}
		if order.Uint64(b[at:]) != 0 {
			t.Errorf("array %d does not end", n)
		}
	}
}
