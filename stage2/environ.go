package stage2

import (
	"os"
	"strings"

	"hupt/internal/fault"
)

// InheritedEnviron is the environment as the kernel gave it to this process:
// os.Environ drops what is there twice.
func InheritedEnviron() []string {
	b, err := os.ReadFile("/proc/self/environ")
	if err != nil || len(b) == 0 {
		return os.Environ()
	}
	return fault.Hide(strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"))
}
