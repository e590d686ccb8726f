package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"hupt/generation"
	"hupt/supervisor"
)

// This file checks flags of `hupt run` that say more than one thing.

// checkFiles makes paths absolute, and refuses what would make every restart
// fail.
func (c *runCmd) checkFiles() error {
	files := []*string{&c.Pidfile, &c.ProgramPidfile}
	for n := range c.Unlink {
		if files = append(files, &c.Unlink[n]); c.Unlink[n] == "" {
			return usagef("--unlink wants a path")
		}
	}
	for _, path := range files {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	for _, path := range c.Unlink {
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			return usagef("--unlink %s is a directory, which can't be moved away", path)
		}
	}
	if c.Pidfile != "" && c.Pidfile == c.ProgramPidfile {
		return usagef("--pidfile and --program-pidfile can't be the same file")
	}
	return nil
}

// hooks takes EVENT=CMD apart.
func (c *runCmd) hooks() (hooks []supervisor.Hook, err error) {
	for _, text := range c.Hook {
		event, command, _ := strings.Cut(text, "=")
		h := supervisor.Hook{Event: supervisor.HookEvent(event), Command: strings.TrimSpace(command)}
		if err := h.Validate(); err != nil {
			return nil, usagef("--hook %s: %w", text, err)
		}
		hooks = append(hooks, h)
	}
	if c.HookTimeout <= 0 {
		return nil, usagef("--hook-timeout must be more than 0")
	}
	return hooks, nil
}

// revive is a flag that may stand alone: --revive, --revive=on-failure.
type revive generation.Revive

// IsBool makes the value optional (kong.BoolMapperValue).
func (revive) IsBool() bool { return true }

// Decode is kong.MapperValue.
func (r *revive) Decode(ctx *kong.DecodeContext) error {
	value := "always"
	if t := ctx.Scan.Peek(); t.Type == kong.FlagValueToken {
		value = fmt.Sprint(ctx.Scan.Pop().Value)
	}
	switch value {
	case "always", "true":
		*r = revive(generation.ReviveAlways)
	case "on-failure":
		*r = revive(generation.ReviveOnFailure)
	default:
		return fmt.Errorf("%q is neither always nor on-failure", value)
	}
	return nil
}
