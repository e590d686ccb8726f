package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is set at build time: -ldflags "-X main.release=1.2.3".
var release string

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(std *streams) error {
	_, err := fmt.Fprintln(std.out, version())
	return err
}

// version is the release, or the commit it was built from.
func version() string {
	v := release
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = info.Main.Version
	}
	if v == "" {
		v = "(devel)"
	}
	return fmt.Sprintf("hupt %s %s/%s %s", v, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
