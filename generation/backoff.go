package generation

import "time"

// Backoff is how long to wait between attempts at something that keeps
// failing: each time twice as long, up to Max. The zero count is the first.
type Backoff struct {
	Min, Max time.Duration
	n        int
}

// Next is how long to wait before the next attempt.
func (b *Backoff) Next() time.Duration {
	d := b.Min
	for range b.n {
		if d *= 2; d >= b.Max {
			return b.Max
		}
	}
	b.n++
	return min(d, b.Max)
}

// Reset begins anew: an attempt has succeeded.
func (b *Backoff) Reset() { b.n = 0 }
