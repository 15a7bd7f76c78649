package wan

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A Shape is what a link does to the packets of one direction.
type Shape struct {
	Delay time.Duration // from one end to the other, queue excluded
	Rate  int           // bits per second of IP packets; 0: no limit
	// Queue is how long the drop-tail queue before the link may get, as the
	// time that Rate takes to empty it. 0: no limit.
	Queue time.Duration
	Loss  float64 // share of packets lost at random, 0 to 1
	Hole  bool    // nothing arrives, and nobody is told: a black hole
}

// Stats counts the packets of one direction since the link was made.
type Stats struct {
	Packets, Bytes int64 // delivered; bytes of IP packets, headers included
	Overflowed     int64 // packets that found the queue full
	Lost           int64 // packets lost at random
	Swallowed      int64 // packets that fell into a black hole
}

// A direction decides about packets and counts them.
type direction struct {
	mu    sync.Mutex
	shape Shape
	stats Stats
	free  time.Time // when the link has sent all it was given
	last  time.Time // when the packet before this one arrives
}

func (d *direction) set(s Shape) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shape = s
	d.free = time.Time{}
}

// admit says when a packet of so many bytes that comes at now arrives, or that
// it does not.
func (d *direction) admit(now time.Time, size int) (due time.Time, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shape.Hole {
		d.stats.Swallowed++
		return due, false
	}
	if d.shape.Loss > 0 && rand.Float64() < d.shape.Loss { //nolint:gosec // no secret
		d.stats.Lost++
		return due, false
	}
	sent := now
	if d.shape.Rate > 0 {
		if d.shape.Queue > 0 && d.free.Sub(now) > d.shape.Queue {
			d.stats.Overflowed++
			return due, false
		}
		if d.free.After(sent) {
			sent = d.free
		}
		sent = sent.Add(time.Duration(size) * 8 * time.Second / time.Duration(d.shape.Rate))
		d.free = sent
	}
	due = sent.Add(d.shape.Delay)
	if due.Before(d.last) { // the delay became less: packets keep their order
		due = d.last
	}
	d.last = due
	return due, true
}

// deliver counts a packet whose time has come, unless the link broke meanwhile.
func (d *direction) deliver(size int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shape.Hole {
		d.stats.Swallowed++
		return false
	}
	d.stats.Packets++
	d.stats.Bytes += int64(size)
	return true
}

func (d *direction) count() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}
