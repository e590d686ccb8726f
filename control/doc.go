// Package control lets `hupt restart`, `status` and `stop` speak with a
// running `hupt run`: HTTP with JSON over a Unix socket named for hupt's pid,
// in a directory that only its user can enter.
//
// The server side is Listen, then Serve, then Close. The client side is Dirs
// (where to look), Find (who is there), Pick (who is meant) and the methods of
// Instance. docs/control.md describes the protocol.
//
// A client is never waited for: events are queued between the instance and
// each client, a client that does not read loses its stream, and one that
// vanishes stops nothing.
package control
