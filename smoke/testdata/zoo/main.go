// Command zoo is a collection of servers that are bad in one way each, so that
// a test can see that the check made for it finds it: zoo KIND ADDRESS DIR.
// It counts its starts in DIR, by which it knows that it was restarted.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// start says which start this is, from 1.
func start(dir string) int {
	f, err := os.OpenFile(filepath.Join(dir, "starts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	f.Write([]byte{'x'})
	st, err := f.Stat()
	if err != nil {
		panic(err)
	}
	return int(st.Size())
}

// init keeps main on the first thread.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) == 2 && os.Args[1] == "child" {
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Minute)
		return
	}
	kind, address, dir := os.Args[1], os.Args[2], os.Args[3]
	n := start(dir)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from process %d\n", os.Getpid())
	})
	switch kind {
	case "exits3":
		fmt.Fprintln(os.Stderr, "zoo: can't find its configuration")
		os.Exit(3)
	case "never":
		time.Sleep(time.Hour)
	case "stdin":
		io.ReadFull(os.Stdin, make([]byte, 1))
	case "stdin-thread": // any thread but the first, which is locked to main
		read := make(chan struct{})
		go func() {
			io.ReadFull(os.Stdin, make([]byte, 1))
			close(read)
		}()
		<-read
	case "stdin-end":
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	case "ignores-term":
		signal.Ignore(syscall.SIGTERM)
	case "child":
		c := exec.Command(os.Args[0], "child")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			panic(err)
		}
	case "forks":
		if os.Getenv("ZOO_DAEMON") == "" {
			c := exec.Command(os.Args[0], os.Args[1:]...)
			c.Env = append(os.Environ(), "ZOO_DAEMON=1")
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := c.Start(); err != nil {
				panic(err)
			}
			return
		}
	case "flood":
		line := []byte(fmt.Sprintf("%0300d\n", 7))
		go func() {
			for {
				os.Stderr.Write(line)
				time.Sleep(20 * time.Microsecond)
			}
		}()
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, "zoo:", err)
		os.Exit(1)
	}
	switch kind {
	case "garbage":
		raw(l, func(c net.Conn) {
			b := make([]byte, 64)
			rand.Read(b)
			c.Write(b)
		})
	case "closes":
		raw(l, func(net.Conn) {})
	case "hole":
		if n > 1 {
			go hole(l)
		}
	}
	panic(http.Serve(again{l}, bad(kind, n, handler)))
}

// later is opened when requests have been answered for a while.
var later net.Listener

// bad makes a handler bad in its way.
func bad(kind string, n int, good http.HandlerFunc) http.Handler {
	var count atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch i := count.Add(1); {
		case kind == "drops" && i%500 == 0:
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				c.Close()
			}
			return
		case kind == "late" && i == 30:
			later, _ = net.Listen("tcp", "127.0.0.1:0")
		case kind == "leaks":
			syscall.Open("/dev/null", syscall.O_RDONLY, 0)
		case kind == "body" && n > 1:
			io.WriteString(w, "an error page\n")
			return
		case kind == "status" && n > 1:
			w.WriteHeader(http.StatusTeapot)
		case kind == "slow" && n > 1:
			time.Sleep(150 * time.Millisecond)
		}
		good(w, r)
	})
}

// hole makes the listening socket, whoever else has it, refuse connections for
// 50 ms.
func hole(l net.Listener) {
	time.Sleep(250 * time.Millisecond)
	rc, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		panic(err)
	}
	rc.Control(func(fd uintptr) {
		unix.Shutdown(int(fd), unix.SHUT_RDWR)
		time.Sleep(50 * time.Millisecond)
		unix.Listen(int(fd), 128)
	})
}

// again goes on accepting after an error.
type again struct{ net.Listener }

func (a again) Accept() (net.Conn, error) {
	for {
		c, err := a.Listener.Accept()
		if err == nil {
			return c, nil
		}
		time.Sleep(time.Millisecond)
	}
}

// raw serves without HTTP, for ever.
func raw(l net.Listener, answer func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			continue
		}
		go func() {
			defer c.Close()
			answer(c)
		}()
	}
}
