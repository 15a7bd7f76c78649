package transport

import (
	"context"
	"time"
)

// routeSettle is how long the network is given to settle: a change comes as a
// burst of events (link, address, routes), of which the last one matters most.
const routeSettle = 250 * time.Millisecond

// reportChanges calls changed at the first event of a burst, because the old
// path may be gone, and again when the burst is over, because the new one may
// be there only now. It returns when ctx ends or events is closed.
func reportChanges(ctx context.Context, events <-chan struct{}, changed func()) {
	settled := time.NewTimer(routeSettle)
	settled.Stop()
	defer settled.Stop()
	quiet, more := true, false
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-events:
			if !open {
				return
			}
			more = !quiet
			if quiet {
				quiet = false
				changed()
			}
			settled.Reset(routeSettle)
		case <-settled.C:
			quiet = true
			if more {
				more = false
				changed()
			}
		}
	}
}

// notify adds an event that nobody has taken yet at most once.
func notify(events chan<- struct{}) {
	select {
	case events <- struct{}{}:
	default:
	}
}
