package fdtable

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRegistrations(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []Registration
	}{
		"an epoll set": {`pos:	0
flags:	02
mnt_id:	15
ino:	1057
tfd:        5 events:       19 data:                5  pos:0 ino:1a2b sdev:8
tfd:       12 events: 8000201d data: ffffc80000000001  pos:0 ino:ffffffff sdev:8
`, []Registration{{5, 0x19, 5, 0x1a2b}, {12, 0x8000201d, 0xffffc80000000001, 0xffffffff}}},
		"before Linux 5.9, without an inode": {"tfd:        5 events:       19 data:                5\n", []Registration{{TargetFD: 5, Events: 0x19, Data: 5}}},
		"fields that touch":                  {"tfd: 7events: 1 data:2\n", nil},
		"a narrow column":                    {"tfd:1234567890 events:1 data:ffffffffffffffff pos:0 ino:1\n", []Registration{{1234567890, 1, 1<<64 - 1, 1}}},
		"an empty set":                       {"pos:	0\nflags:	02\n", nil},
		"a number that is none":              {"tfd: x events: 1 data: 2\n", nil},
		"a number that is too large":         {"tfd: 99999999999999999999 events: 1 data: 2\n", nil},
		"a line that ends early":             {"tfd: 5 events:", []Registration{{TargetFD: 5}}},
		"an inotify":                         {"inotify wd:1 ino:dac sdev:1700001 mask:fc6 ignored_mask:0\n", nil},
		"nothing":                            {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseRegistrations(strings.NewReader(c.text))
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseFlags(t *testing.T) {
	for text, want := range map[string]FD{
		"pos:\t0\nflags:\t02\nmnt_id:\t8\n":     {Num: 3},
		"pos:\t0\nflags:\t02004002\nmnt_id:\t8": {Num: 3, CloseOnExec: true, NonBlock: true},
		"flags:\t04000\n":                       {Num: 3, NonBlock: true},
		"flags:  02000000":                      {Num: 3, CloseOnExec: true},
	} {
		got, err := parseFlags(3, []byte(text))
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "pos:\t0\n", "flags:\t09\n", "flags:\n", "flags:\t-1\n"} {
		if got, err := parseFlags(3, []byte(text)); err == nil {
			t.Errorf("%q: %+v and no error", text, got)
		}
	}
}

func TestSocketInode(t *testing.T) {
	for link, want := range map[string]uint64{
		"socket:[4711]":         4711,
		"socket:[18446744073]":  18446744073,
		"socket:[]":             0,
		"socket:[x]":            0,
		"pipe:[4711]":           0,
		"/tmp/socket:[4711]":    0,
		"anon_inode:[eventfd]":  0,
		"/srv/x (deleted)":      0,
		"socket:[-1]":           0,
		"socket:[4711] deleted": 0,
	} {
		if got, ok := socketInode(link); got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %v", link, got, ok)
		}
	}
}

func TestIsZombie(t *testing.T) {
	for stat, want := range map[string]bool{
		"42 (sh) S 1 42":           false,
		"42 (sh) Z 1 42":           true,
		"42 (sh) X 0":              true,
		"42 (a) Z (b) S 1":         false,
		"42 () Z) t 1":             false,
		"42 (sh)":                  false,
		"42 (sh) ":                 false,
		"":                         false,
		"42 (name\nwith) line) Z ": true,
	} {
		if got := isZombie([]byte(stat)); got != want {
			t.Errorf("%q: %v", stat, got)
		}
	}
}

func TestIsExiting(t *testing.T) {
	for stat, want := range map[string]bool{
		"42 (sh) S 1 42 42 0 -1 4194304 120 0":      false,
		"42 (sh) R 1 42 42 0 -1 4194308 120 0":      true,
		"42 (a) R 1 4 4 (b) S 1 42 42 0 -1 4 120 0": true,
		"42 (a) R 1 4 4 (b) S 1 42 42 0 -1 8 120 0": false,
		"42 (sh) S 1 42 42 0 -1":                    false,
		"42 (sh) S 1 42 42 0 -1 x":                  false,
		"42 (sh)":                                   false,
		"":                                          false,
	} {
		if got := isExiting([]byte(stat)); got != want {
			t.Errorf("%q: %v", stat, got)
		}
	}
}

// FuzzParse: whatever /proc may say one day, it is read without a panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte("flags:\t02004002\ntfd:        5 events:       19 data:                5  pos:0 ino:1a2b sdev:8\n"))
	f.Add([]byte("tfd:\ttfd:\n::::\nflags:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseRegistrations(bytes.NewReader(b))
		parseFlags(0, b)
		socketInode(string(b))
		isZombie(b)
		isExiting(b)
		parseSocket(b)
	})
}
