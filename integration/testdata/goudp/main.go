// Command goudp answers each datagram with itself and who answered.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
)

// The tests overwrite what follows the colon in a copy of the program.
var baked = "hupt-code-version:0               "

func main() {
	addr := flag.String("addr", "", "address")
	flag.Parse()
	conn, err := net.ListenPacket("udp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	who := fmt.Sprintf(" pid=%d version=%s", os.Getpid(), strings.TrimSpace(baked[strings.Index(baked, ":")+1:]))
	b := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := conn.WriteTo(append(b[:n:n], who...), from); err != nil {
			log.Fatal(err)
		}
	}
}
