package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPidfileOf(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	self := fmt.Sprint(os.Getpid())
	good := write("good.pid", self+"\n")
	write("plain", self)
	write("dead.pid", "4194303\n")
	write("text.pid", "x "+self)
	write("empty.pid", "")
	write("large.pid", strings.Repeat(" ", 1<<20)+self)
	if err := os.Symlink(good, filepath.Join(dir, "link.pid")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo.pid"), 0o644); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]bool{
		"":                        false,
		good:                      true,
		"good.pid":                true,
		"-c conf -p good.pid":     true,
		"--pidfile=plain":         true,
		"--pid-file plain":        true,
		"plain":                   false,
		"/a/pid/b plain":          false,
		"--pidfile":               false,
		"--pidfile=":              false,
		"dead.pid":                false,
		"text.pid":                false,
		"empty.pid":               false,
		"large.pid":               false,
		"link.pid":                false,
		"fifo.pid":                false,
		"nowhere.pid":             false,
		"nowhere.pid --pid=plain": true,
	} {
		got := pidfileOf(append([]string{"good.pid"}, strings.Fields(words)...), dir, map[int]int{os.Getpid(): 7})
		if (got != "") != want || want && !strings.Contains(got, "names process "+self+" (") || want && !strings.Contains(got, "of generation 7, which lives") {
			t.Errorf("%s: %q", words, got)
		}
	}
}
