// Command hupt restarts programs that know nothing of it without losing a
// connection.
package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"hupt/doctor"
	"hupt/stage2"
	"hupt/supervisor"
	"hupt/twin"
)

func main() {
	// First of all: the same binary is also what runs between fork and exec,
	// where every thread and every allocation of ours would be in the way.
	if stage2.Requested() {
		stage2.Main()
	}
	if twin.Requested() {
		twin.Main()
	}
	if doctor.ProbeRequested() {
		doctor.ProbeMain()
	}
	if len(os.Args) > 1 && os.Args[1] == "run" {
		supervisor.CatchEarly()
	}
	os.Exit(run(os.Args[1:], &streams{os.Stdin, os.Stdout, os.Stderr}))
}

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// commandLine is what hupt was called with. kong makes text of what it parses,
// and a program's arguments need not be text.
type commandLine []string

// tail is its last n words.
func (l commandLine) tail(n int) []string { return l[len(l)-n:] }

// otherCommand is what stands after the "--" of a restart; nil: no "--".
type otherCommand []string

// cutCommand takes the other command off the arguments of a restart: kong would
// take its first word for the target.
func cutCommand(args []string) ([]string, otherCommand) {
	if len(args) == 0 || args[0] != "restart" {
		return args, nil
	}
	if i := slices.Index(args, "--"); i > 0 {
		return args[:i], otherCommand(args[i+1:])
	}
	return args, nil
}

// cli is the command line; each command has a file of its own.
type cli struct {
	Run     runCmd     `cmd:"" help:"Run a program so that it can be restarted without losing a connection."`
	Restart restartCmd `cmd:"" help:"Start the program anew, hand its sockets over, let the old one finish."`

	Rollback rollbackCmd `cmd:"" help:"Restart with the command, environment and directory before the last change of them."`

	Status  statusCmd  `cmd:"" help:"Show what runs under hupt."`
	Scale   scaleCmd   `cmd:"" help:"Run another number of processes of a program that was started with --multi."`
	Stop    stopCmd    `cmd:"" help:"Stop a program and its hupt, and wait until they are gone."`
	Doctor  doctorCmd  `cmd:"" help:"Check what this kernel, user and container allow."`
	Smoke   smokeCmd   `cmd:"" help:"Prove that a server restarts without losing a request."`
	Version versionCmd `cmd:"" help:"Print the version."`

	SmokeServer smokeServerCmd `cmd:"" hidden:""`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// run carries out one command line and gives the exit code.
func run(args []string, std *streams) int {
	var c cli
	args, other := cutCommand(args)
	parser, err := kong.New(&c,
		kong.Name("hupt"),
		kong.Description("Zero-downtime restarts for programs that know nothing of it."),
		kong.Writers(std.out, std.err),
		kong.Help(help),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Vars{"version": version()},
		kong.Bind(std, commandLine(args), other),
	)
	if err != nil {
		panic(err) // the struct tags are wrong
	}
	context, err := parser.Parse(args)
	if err != nil {
		if len(args) > 0 && args[0] == "smoke" {
			return fail(std.err, smokeUsage(badFlag("%s", plain(err))))
		}
		return fail(std.err, usageError(err, args))
	}
	if err := checkEmpty(context); err != nil {
		return fail(std.err, err)
	}
	return fail(std.err, context.Run())
}

// help is kong's, with the usage of run as it is, since kong puts flags last,
// followed by the exit codes where all commands are shown.
func help(options kong.HelpOptions, context *kong.Context) error {
	out := context.Stdout
	var page strings.Builder
	context.Stdout = &page
	err := kong.DefaultHelpPrinter(options, context)
	context.Stdout = out
	if err != nil {
		return err
	}
	text := strings.Replace(page.String(), "hupt run [<cmd> ...] [flags]", "hupt run [flags] [--] CMD [ARG...]", 1)
	text = strings.Replace(text, "hupt restart [<target>] [flags]", "hupt restart [TARGET] [flags] [-- CMD [ARG...]]", 1)
	if _, err := io.WriteString(out, text); err != nil {
		return err
	}
	if context.Selected() == nil {
		fmt.Fprintln(context.Stdout)
		writeExitCodes(context.Stdout)
	}
	return nil
}
