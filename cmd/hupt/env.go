package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxEnvFile bounds a file of variables, in bytes: what execve(2) takes of an
// environment is not much more.
const maxEnvFile = 1 << 20

// environment is the variables that --env-file and --env set, the latter last. A
// name without a value has that of hupt's own environment: what is secret need
// not be on a command line, which others can read.
func environment(file string, words []string) ([]string, error) {
	all, err := readEnvFile(file)
	if err != nil {
		return nil, err
	}
	all = append(all, words...)
	for n, word := range all {
		if word == "" || strings.Contains(word, "=") {
			continue
		}
		value, ok := os.LookupEnv(word)
		if !ok {
			return nil, usagef("%q is no variable of the environment of this command: give it a value, as NAME=VALUE, or --unset it", word)
		}
		all[n] = word + "=" + value
	}
	return all, nil
}

// readEnvFile reads lines of NAME=VALUE or NAME; empty ones, and those that begin
// with #, mean nothing. A value is what follows, to the end of the line: there are
// no quotes.
func readEnvFile(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("--env-file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	switch {
	case err != nil:
		return nil, usagef("--env-file: %w", err)
	case len(b) > maxEnvFile:
		return nil, usagef("--env-file: %s has more than %d bytes", path, maxEnvFile)
	}
	var out []string
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if bare := strings.TrimSpace(line); bare == "" || bare[0] == '#' {
			continue
		}
		if name, _, _ := strings.Cut(line, "="); name == "" || strings.ContainsAny(name, " \t") {
			return nil, usagef("--env-file: %s", fmt.Sprintf("line %d of %s is not NAME=VALUE", n, path))
		}
		out = append(out, line)
	}
	return out, nil
}
