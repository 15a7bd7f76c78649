package cli

import (
	"context"
	"sync"
	"time"

	"github.com/cloudssh/cloudssh/internal/transport"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// outageVisible is how long a connection may be gone before the person is
// told: shorter ones are over before they could be read about.
const outageVisible = 3 * time.Second

// outage follows the state of a connection.
type outage struct {
	mu      sync.Mutex
	state   transport.State
	since   time.Time     // when it was found gone; zero while it is there
	changed chan struct{} // holds a token after a change
}

func newOutage() *outage { return &outage{changed: make(chan struct{}, 1)} }

// observe is for transport.Endpoint.Observe.
func (o *outage) observe(s transport.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = s
	switch {
	case s.Phase == transport.Connected:
		o.since = time.Time{}
	case s.Phase == transport.Closed: // what was before is told
	case o.since.IsZero():
		o.since = time.Now()
	}
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// look returns the present state, and since when the connection is gone.
func (o *outage) look() (state transport.State, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state, o.since
}

// down reports whether the connection is gone and may come back.
func (o *outage) down() bool {
	state, since := o.look()
	return !since.IsZero() && state.Phase != transport.Closed
}

// follow calls lost every second while an outage lasts that is worth telling,
// and back when it is over, until ctx or the connection ends: an end that comes
// at once does not hide that it was over.
func (o *outage) follow(ctx context.Context, lost, back func(lasted time.Duration)) {
	var began time.Time // of the outage that was told of
	tick := time.NewTimer(0)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-ctx.Done():
			over = true
		case <-o.changed:
		case <-tick.C:
		}
		state, since := o.look()
		over = over || state.Phase == transport.Closed
		switch {
		case since.IsZero():
			if !began.IsZero() {
				back(time.Since(began))
			}
			began = time.Time{}
		case over:
		case time.Since(since) < outageVisible:
			tick.Reset(outageVisible - time.Since(since))
		default:
			began = since
			lost(time.Since(since))
			tick.Reset(time.Second)
		}
	}
}

// tell tells of outages in lines, until ctx or the connection ends.
func (o *outage) tell(ctx context.Context, out *ui.UI) {
	told := false
	o.follow(ctx, func(time.Duration) {
		if !told {
			out.Notef("the connection is lost; trying again")
		}
		told = true
	}, func(lasted time.Duration) {
		out.Notef("connected again after %s", short(lasted))
		told = false
	})
}
