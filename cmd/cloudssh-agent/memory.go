//go:build linux || darwin

package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The memory is the app's by right: what the agent takes is missing there, and
// what it keeps after a transfer is missing for ever.
const (
	// memoryBase and memoryEach are what the Go runtime may take without
	// connections and more for each: beyond that the collector works harder. A
	// connection has windows of megabytes when it transfers, and hardly
	// anything when it does not.
	memoryBase = 64 << 20
	memoryEach = 4 << 20

	// calmCheck is how often it is looked whether a transfer has ended, calm how
	// little is allocated then, and worthwhile how much was before.
	calmCheck  = 2 * time.Second
	calm       = 512 << 10
	worthwhile = 4 << 20
)

// limitMemory sets the limit for n connections.
func limitMemory(n int) {
	debug.SetMemoryLimit(memoryBase + int64(n)*memoryEach)
}

// returnMemory gives memory back to the system whenever a transfer has ended,
// until ctx does. The runtime would do so by itself, but only minutes later.
func returnMemory(ctx context.Context) {
	ticker := time.NewTicker(calmCheck)
	defer ticker.Stop()
	var c calmness
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if c.next(allocated()) {
			debug.FreeOSMemory()
		}
	}
}

// calmness follows how much is allocated.
type calmness struct {
	last  uint64 // at the last look
	since uint64 // when memory was returned for the last time
	ticks int    // for which it has been calm since then
}

// next takes what has been allocated so far, and says whether to return memory
// now: when it becomes calm after much was allocated, and some times more
// because pools are emptied by every second collection only, and what waits for
// a client's acknowledgement is let go by that.
func (c *calmness) next(now uint64) bool {
	quiet := now-c.last < calm
	c.last = now
	switch {
	case !quiet:
		c.ticks = 0
		return false
	case c.ticks == 0 && now-c.since < worthwhile:
		return false
	}
	c.ticks++
	switch c.ticks {
	case 1, 2, 4, 10:
		c.since = now
		return true
	case 11:
		c.ticks = 0
	}
	return false
}

// allocated is how many bytes were ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
