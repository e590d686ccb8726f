// Gohttp is a static Go server as people write them: net/http, no signal
// handling, no graceful shutdown. It answers with its pid and its version.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// baked is overwritten behind the colon, sixteen characters, in a copy of the
// program: that is what "new code" is to the tests.
var baked = "hupt-code-version:0               "

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen; a Unix socket has a slash or begins with @")
	remove := flag.Bool("remove", false, "remove the Unix socket's path first")
	closes := flag.Bool("close", false, "close the listener on TERM, which removes a Unix socket's path, and exit")
	startup := flag.Duration("startup", 0, "sleep before listening")
	listening := flag.Duration("listening", 0, "sleep between listen and the first accept")
	warm := flag.Duration("warm", 0, "/health gives 503 for so long, and READY=1 is said only then")
	gc := flag.Int("gc", 100, "collect garbage when the heap has grown by so many per cent")
	flag.Parse()
	debug.SetGCPercent(*gc)
	begun := time.Now()

	version := strings.TrimSpace(baked[strings.Index(baked, ":")+1:])
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if ms, err := strconv.Atoi(r.FormValue("ms")); err == nil {
			time.Sleep(time.Duration(ms) * time.Millisecond)
		}
		if path := r.FormValue("until"); path != "" {
			waitFor(path)
		}
		fmt.Fprintf(w, "pid=%d version=%s\n", os.Getpid(), version)
	})
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		if time.Since(begun) < *warm {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	if to := os.Getenv("NOTIFY_SOCKET"); to != "" {
		time.AfterFunc(*warm, func() { notify(to, "READY=1\nSTATUS=warm") })
	}
	time.Sleep(*startup)
	network := "tcp"
	if strings.ContainsAny(*addr, "/@") {
		network = "unix"
	}
	if *remove {
		os.Remove(*addr)
	}
	if version == "elsewhere" {
		*addr += "2"
	}
	l, err := net.Listen(network, *addr)
	if err != nil {
		log.Fatal(err)
	}
	if *closes {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		go func() {
			<-c
			l.Close()
			os.Exit(0)
		}()
	}
	time.Sleep(*listening)
	log.Fatal(http.Serve(l, nil))
}

// notify is sd_notify(3).
func notify(to, state string) {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: to, Net: "unixgram"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte(state))
}

// waitFor says by a file beside path that somebody waits, and waits until
// there is a file at path.
func waitFor(path string) {
	mark, err := os.CreateTemp(filepath.Dir(path), "waiting-")
	if err != nil {
		log.Fatal(err)
	}
	mark.Close()
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
