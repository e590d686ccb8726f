package stage2

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInterpretable(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("loop", "#! loop\n")
	put("deep", "#!"+put("script", "#!/bin/sh -e\necho\n")+" -x")
	for path, want := range map[string]bool{
		"script": true, "deep": true, "loop": false, "nowhere": true, "/bin/sh": true, "/proc/self/exe": true,
		put("missing", "#!/no/where\n"):                    false,
		put("directory", "#! "+dir+" x\n"):                 false,
		put("relative", "#!./script\n"):                    true,
		put("empty", ""):                                   true,
		put("bare", "#!\n"):                                true,
		put("none", "echo"):                                true,
		put("elf", "\x7fELF and then nothing of the kind"): true,
	} {
		if got := Interpretable(path, dir); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	// A dynamic program whose loader is not there.
	b, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for i := range b[:4096] {
		if string(b[i:i+4]) == "/lib" {
			copy(b[i:], "/LIB")
			break
		}
	}
	if path := put("dynamic", string(b)); Interpretable(path, dir) {
		t.Error("its loader is there?")
	}
}
