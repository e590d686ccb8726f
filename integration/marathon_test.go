package integration

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hupt/load"
)

// TestMarathon: three hundred restarts in a row under load. Whatever leaks by
// one descriptor, one mapping or one process a restart shows.
func TestMarathon(t *testing.T) {
	t.Parallel()
	s := newSite(t, named("go"))
	s.args = []string{"-gc=10"} // or what a young process holds would depend on what it was asked by then
	i := start(s)
	o := s.load()
	o.Rate = 0 // what it is behind with would be more connections at once
	o.Clients = 4
	if small() {
		o.Observe = func(load.Sample) { time.Sleep(20 * time.Millisecond) }
	}
	run := begin(t, o)
	total := max(2*marathonSettled, scale(marathonRestarts))
	var huptSizes, programSizes []size
	for n := 1; n <= total; n++ {
		version := fmt.Sprintf("v%d", n)
		s.deploy(version)
		i.restart("--wait-drained")
		g := i.serving()
		huptSizes = append(huptSizes, sizeOf(i.pid))
		programSizes = append(programSizes, sizeOf(g.PID))
		if n%20 == 0 {
			if who, err := s.answer(); err != nil || who.version != version {
				t.Errorf("restart %d: %v answers, %v", n, who, err)
			}
			if running := i.programs(); !slices.Equal(running, []int{g.PID}) {
				t.Errorf("restart %d: processes %v run, not just the program, %d", n, running, g.PID)
			}
			t.Logf("restart %3d: hupt %v, program %v", n, huptSizes[n-1], programSizes[n-1])
		}
	}
	noneFailed(t, fmt.Sprintf("%d restarts in a row", total), run.Stop())
	flat(t, "hupt", huptSizes, 0)
	flat(t, "program", programSizes, o.Clients)
	status := i.status()
	if status.Restarts != total || len(status.Generations) != 1 {
		t.Errorf("hupt counts %d restarts and %d generations, not %d and 1", status.Restarts, len(status.Generations), total)
	}
}

// size is what a process holds.
type size struct {
	fds, threads int
	rss          int // KiB
	maps         int
}

func (s size) String() string {
	return fmt.Sprintf("%d fds, %d threads, %d mappings, %d KiB", s.fds, s.threads, s.maps, s.rss)
}

func sizeOf(pid int) (s size) {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	s.fds = len(entries)
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	s.maps = strings.Count(string(maps), "\n")
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d", &s.rss)
		fmt.Sscanf(line, "Threads: %d", &s.threads)
	}
	return s
}

// flat compares the settled beginning with the end: medians, since a moment's
// connections, of which there are at most so many, and the garbage collector move
// single samples.
func flat(t *testing.T, who string, sizes []size, connections int) {
	t.Helper()
	window := max(5, len(sizes)/10)
	early := medianSize(sizes[marathonSettled-1 : marathonSettled-1+window])
	late := medianSize(sizes[len(sizes)-window:])
	t.Logf("%s at restart %d: %v; at %d: %v", who, marathonSettled, early, len(sizes), late)
	if late.fds > early.fds+2+connections {
		t.Errorf("%s has %d descriptors at the end, %d at restart %d", who, late.fds, early.fds, marathonSettled)
	}
	if late.threads > early.threads+4 {
		t.Errorf("%s has %d threads at the end, %d at restart %d", who, late.threads, early.threads, marathonSettled)
	}
	if late.maps > early.maps+10 {
		t.Errorf("%s has %d mappings at the end, %d at restart %d", who, late.maps, early.maps, marathonSettled)
	}
	// What leaks is there at every look, so it is the least of the end that must not
	// be more than the most of the beginning: how much of a young Go program is in
	// memory by then is chance, 6.6 to 8.3 MiB. The race detector's shadow of memory
	// grows with whatever is ever touched.
	byMemory := func(a, b size) int { return a.rss - b.rss }
	most := slices.MaxFunc(sizes[marathonSettled-1:marathonSettled-1+window], byMemory).rss
	least := slices.MinFunc(sizes[len(sizes)-window:], byMemory).rss
	limit := most*11/10 + 1024
	if os.Getenv("HUPT_RACE") == "1" {
		limit = most*3/2 + 8192
	}
	if least > limit {
		t.Errorf("%s holds at least %d KiB at the end, at most %d from restart %d on", who, least, most, marathonSettled)
	}
}

func medianSize(sizes []size) size {
	pick := func(f func(size) int) int {
		var all []int
		for _, s := range sizes {
			all = append(all, f(s))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return size{
		fds:     pick(func(s size) int { return s.fds }),
		threads: pick(func(s size) int { return s.threads }),
		rss:     pick(func(s size) int { return s.rss }),
		maps:    pick(func(s size) int { return s.maps }),
	}
}
