// Package load asks a server for answers and misses none that is lost.
//
// Its clients never retry: what an ordinary HTTP client would quietly ask
// again is here a failure with a class, a time and the phase it fell into. The
// one exception is what no client can lose a request by: a kept connection
// that the server closed while nothing was in flight is replaced before the
// next request is written, and counted in Result.Reconnects.
//
// With a Rate the load is an open loop. Request i is due at start + i/rate
// whatever the server does, and its latency counts from then, so a server that
// stops for a second shows a second to all that were due in it (no coordinated
// omission). Without one, every client asks again as soon as it was answered.
package load
