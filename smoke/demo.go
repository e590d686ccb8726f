package smoke

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

// Demo is the small server that hupt carries in itself: it answers every
// request on address until it is killed. It knows nothing of hupt.
func Demo(address string) error {
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "hello from process %d\n", os.Getpid())
	}))
}

// FreePort returns an address on the loopback whose port nobody uses. A server
// must have the same one in each generation, so it can't be left to choose.
func FreePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
