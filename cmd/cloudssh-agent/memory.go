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
	// gcPercent makes the collector come twice as often as usual.
	gcPercent = 50
	// memoryBase and memoryEach are what the Go runtime may take without
	// connections and more for each: beyond that the collector works harder. A
	// connection has windows of megabytes when it transfers, and hardly
	// anything when it does not.
	memoryBase = 64 << 20
	memoryEach = 4 << 20

	// calmCheck is how often it is looked whether a transfer has ended, calm how
	// little is allocated then, and worthwhile how much was before.
	calmCheck  = 2 * time.Second
	calm       = 256 << 10
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
	var last, returned uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := allocated()
		if now-last < calm && now-returned > worthwhile {
			debug.FreeOSMemory()
			returned = now
		}
		last = now
	}
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
