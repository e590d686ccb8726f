package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"hupt/control"
	"hupt/supervisor"
)

// writeStatus shows instances one below the other, to user self: of another's, whose
// it is.
func writeStatus(w io.Writer, instances []control.Instance, self int, now time.Time) {
	for n := range instances {
		if n > 0 {
			fmt.Fprintln(w)
		}
		i := &instances[n]
		who := strconv.Itoa(i.PID)
		if i.UID != self {
			who += fmt.Sprintf(" of uid %d", i.UID)
		}
		if i.Err != nil {
			fmt.Fprintf(w, "hupt %s: does not answer\n", who)
			continue
		}
		writeInstance(w, who, &i.Status, now)
	}
}

func writeInstance(w io.Writer, who string, s *supervisor.Status, now time.Time) {
	name := s.Name
	if name == "" && len(s.Command) > 0 {
		name = s.Command[0]
	}
	fmt.Fprintf(w, "%s: %s, hupt's pid %s, up %s\n", printable(name), printable(s.State), who, age(now.Sub(s.Started)))
	fmt.Fprintf(w, "  command   %s\n", words(s.Command))
	if len(s.Previous) > 0 {
		fmt.Fprintf(w, "  before    %s\n", words(s.Previous))
	}
	if s.Path != "" {
		fmt.Fprintf(w, "  path      %s\n", printable(s.Path))
	}
	if s.Dir != "" {
		fmt.Fprintf(w, "  cwd       %s\n", printable(s.Dir))
	}
	if s.Processes != 0 {
		fmt.Fprintf(w, "  processes %d; generations are counted by process: 2.3 is the second's third\n", s.Processes)
	}
	fmt.Fprintf(w, "  restarts  %d, %d rolled back, %s cut\n", s.Restarts, s.Rollbacks, count(s.Cut, "connection"))
	fmt.Fprintf(w, "  stops     %s\n", stops(s.Stops))
	fmt.Fprintf(w, "  injected  %s\n", count(int(s.Injected), "system call"))
	fmt.Fprintln(w)

	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  GENERATION\tSTATE\tPID\tPROCESSES\tAGE\tMEMORY\tCONNECTIONS")
	sockets := 0
	for _, g := range s.Generations {
		fmt.Fprintf(table, "  %s\t%s\t%d\t%d\t%s\t%s\t%d\n", number(g), printable(g.State), g.PID,
			len(g.PIDs), age(now.Sub(g.Started)), size(g.RSS), g.Connections)
		sockets += len(g.Sockets)
	}
	table.Flush()
	if sockets == 0 {
		return
	}
	fmt.Fprintln(w)
	fmt.Fprintln(table, "  SOCKET\tGENERATION\tQUEUE\tHANDED OVER")
	for _, g := range s.Generations {
		for _, socket := range g.Sockets {
			fmt.Fprintf(table, "  %s %s\t%s\t%d of %d\t%s\n", printable(socket.Network), printable(socket.Address),
				number(g), socket.Queue, socket.Backlog, yesNo(socket.Adopted))
		}
	}
	table.Flush()
	writeLetGo(w, s.Generations)
	writeConnections(w, s.Generations)
}

// writeLetGo shows the addresses on which nobody listens any more.
func writeLetGo(w io.Writer, generations []supervisor.GenerationStatus) {
	for _, g := range generations {
		for n, address := range g.LetGo {
			if n == 0 {
				fmt.Fprintf(w, "\n  generation %s let go of\n", number(g))
			}
			fmt.Fprintf(w, "    %s\n", printable(address))
		}
	}
}

// writeConnections shows the connections, if they were asked for.
func writeConnections(w io.Writer, generations []supervisor.GenerationStatus) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	shown := 0
	for _, g := range generations {
		for _, c := range g.Connected {
			if shown++; shown == 1 {
				fmt.Fprintln(w)
				fmt.Fprintln(table, "  CONNECTION\tFROM\tGENERATION\tSTATE\tPROTOCOL\tSEEN\tIN\tOUT\tSILENT")
			}
			protocol := c.Protocol
			if protocol == "" {
				protocol = "-"
			}
			fmt.Fprintf(table, "  %s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(c.Local), printable(c.Remote), g.Number,
				printable(string(c.State)), printable(protocol), seconds(c.Seen), size(int64(c.Received)), size(int64(c.Sent)), seconds(min(c.LastReceived, c.LastSent)))
		}
	}
	table.Flush()
}

// stops lists the kinds, the most frequent first.
func stops(kinds map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		switch {
		case kinds[a] > kinds[b]:
			return -1
		case kinds[a] < kinds[b]:
			return 1
		}
		return strings.Compare(a, b)
	})
	var total uint64
	parts := make([]string, len(names))
	for n, name := range names {
		total += kinds[name]
		parts[n] = fmt.Sprintf("%s %d", printable(name), kinds[name])
	}
	if total == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}

// number is a generation's, with its process's in front in a pool.
func number(g supervisor.GenerationStatus) string {
	if g.Process != 0 {
		return fmt.Sprintf("%d.%d", g.Process, g.Number)
	}
	return strconv.Itoa(g.Number)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
