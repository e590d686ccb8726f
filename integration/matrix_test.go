package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hupt/load"
)

// The matrix: every way to restart, of every shape of program, on every kind of
// socket. See testdata/c/matrix.c.
var (
	matrixModes = []struct{ name, flag string }{
		{"start-first", "--order=start-first"}, {"stop-first", "--order=stop-first"}, {"exec", "--exec"},
	}
	matrixShapes = []struct{ name, model string }{
		{"simple", "simple"}, {"select", "select"}, {"poll", "poll"}, {"epoll", "epoll"},
		{"thread per connection", "thread"}, {"fork per connection", "fork"}, {"thread pool", "threads"},
		{"process pool", "pool"}, {"daemonizing", "daemon"}, {"nested master", "nested"},
	}
	matrixSockets = []string{"TCP4", "TCP6", "Unix", "UDP"}
)

// matrixFile is the documentation that this test keeps true.
const matrixFile = "../docs/matrix.md"

// senseless says why a cell makes no sense; "" if it does.
func senseless(mode, model, socket string) string {
	switch {
	case socket == "UDP" && (model == "thread" || model == "fork"):
		return "¹"
	case mode == "exec" && model == "daemon":
		return "²"
	}
	return ""
}

const matrixNotes = `
¹ A datagram socket has no connections.
² A program that forks twice at each start gets another pid by itself.
`

// TestMatrix restarts each cell three times under load with slow requests in
// flight: none is lost, the new code serves, and the old processes are gone.
func TestMatrix(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	cells := make(map[string]string)
	t.Run("cells", func(t *testing.T) {
		for _, mode := range matrixModes {
			for _, shape := range matrixShapes {
				for _, socket := range matrixSockets {
					name := mode.name + "/" + shape.name + "/" + socket
					if why := senseless(mode.name, shape.model, socket); why != "" {
						cells[name] = "–" + why
						continue
					}
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						matrixCell(t, mode.flag, shape.model, socket)
						mu.Lock()
						defer mu.Unlock()
						if cells[name] = "✓"; t.Failed() {
							cells[name] = "✗"
						}
					})
				}
			}
		}
	})
	table := matrixTable(cells)
	if os.Getenv("HUPT_TABLE") != "" {
		if err := os.WriteFile(matrixFile, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(matrixFile)
	if os.IsNotExist(err) {
		return // these tests were compiled and run elsewhere
	}
	if !t.Failed() && len(cells) == len(matrixModes)*len(matrixShapes)*len(matrixSockets) && string(written) != table {
		t.Errorf("%s is not what was found (%v); write it anew: make table", matrixFile, err)
	}
}

func matrixTable(cells map[string]string) string {
	var b strings.Builder
	b.WriteString(`# What is restarted, and how

Written by the tests (make table). Each cell is three restarts under load, with requests in flight that take their time: none
is lost, the new code serves afterwards, and the old processes are gone. The programs are C, static, and know nothing of hupt.
`)
	for _, mode := range matrixModes {
		fmt.Fprintf(&b, "\n## %s\n\n| | %s |\n|---|%s\n", mode.name, strings.Join(matrixSockets, " | "), strings.Repeat("---|", len(matrixSockets)))
		for _, shape := range matrixShapes {
			fmt.Fprintf(&b, "| %s |", shape.name)
			for _, socket := range matrixSockets {
				fmt.Fprintf(&b, " %s |", cells[mode.name+"/"+shape.name+"/"+socket])
			}
			b.WriteByte('\n')
		}
	}
	return b.String() + matrixNotes
}

func matrixCell(t *testing.T, flag, model, socket string) {
	v := c("matrix-"+model, "matrix", "model="+model, "workers=4")
	v.tag, v.check = bodyTag, checkBody
	v.fleeting = model == "fork"
	s := newSite(t, v)
	switch socket {
	case "TCP6":
		s.host = "::1"
	case "Unix":
		s.socket = filepath.Join(s.dir, "s")
		s.args = []string{"unlink=before"}
	case "UDP":
		s.args = []string{"udp=1"}
		ask := func(ms int) *load.Raw {
			return &load.Raw{Send: fmt.Appendf(nil, "GET /slow?ms=%d\r\n\r\n", ms), Expect: []byte("pid=")}
		}
		v.raw, v.slowRaw, v.check = ask(0), ask, nil
		s.udp = true
	}
	i := start(s, flag)
	// One thread serves one request after the other in some of them.
	quick, slow := s.load(), s.slow(100)
	quick.Rate, quick.Clients, slow.Clients = 50, 8, 2
	runs := []*loading{begin(t, quick), begin(t, slow)}
	for n := range max(1, scale(3)) {
		awaitRequests(t, runs[1], 2*n+1, patience)
		was := i.programs()
		version := fmt.Sprintf("v%d", n+1)
		s.deploy(version)
		i.restart("--wait-drained")
		who, err := s.answer()
		if err != nil || who.version != version {
			t.Errorf("%v answers after the restart to %s: %v", who, version, err)
		}
		for _, pid := range i.programs() {
			if slices.Contains(was, pid) && flag != "--exec" {
				t.Errorf("process %d is of the version before %s", pid, version)
			}
		}
	}
	for n, what := range []string{"quick", "slow"} {
		noneFailed(t, what+" requests", runs[n].Stop())
	}
	if st := i.status(); st.Rollbacks != 0 || st.Cut != 0 || len(st.Generations) != 1 {
		t.Errorf("%d rollbacks, %d connections cut, %d generations left", st.Rollbacks, st.Cut, len(st.Generations))
	}
}
