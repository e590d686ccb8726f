package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestExitCodesInReadme: the README shows the table that the help shows.
func TestExitCodesInReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "| code | of | means |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for _, e := range exitCodes {
		want = append(want, fmt.Sprintf("| %s | %s | %s |", e.code, e.commands, e.means))
	}
	same(t, table, strings.Join(want, "\n"))
}
