package transport

import (
	"crypto/rand"
	"sync"
	"time"
)

// A tenant is a stream with what a client needs to come back to it.
type tenant struct {
	stream    *stream
	key       streamKey
	epoch     uint32 // the last that was accepted; the stream's mutex guards it
	principal string
	expiry    *time.Timer // runs while there is no link; the stream's mutex guards it
}

// A registry knows the streams of a Listener by name. A stream's mutex may be
// held when its own is taken, never the other way round.
type registry struct {
	keep time.Duration // how long a stream without a wire is kept
	most int           // how many there may be

	mu      sync.Mutex
	tenants map[streamID]*tenant
}

func newRegistry(keep time.Duration, most int) *registry {
	return &registry{keep: keep, most: most, tenants: map[streamID]*tenant{}}
}

// add gives a stream a name and a key. It reports false when there are too many.
func (r *registry) add(s *stream, principal string) (streamID, *tenant, bool) {
	var id streamID
	t := &tenant{stream: s, principal: principal, epoch: 1}
	rand.Read(id[:])    // never fails, says its documentation
	rand.Read(t.key[:]) // the same
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tenants) >= r.most {
		return id, nil, false
	}
	r.tenants[id] = t
	s.poke = func() { r.look(id, t) }
	return id, t, true
}

func (r *registry) find(id streamID) *tenant {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tenants[id]
}

func (r *registry) all() []*tenant {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*tenant, 0, len(r.tenants))
	for _, t := range r.tenants {
		all = append(all, t)
	}
	return all
}

// look is called when something became of a stream, with its mutex held.
func (r *registry) look(id streamID, t *tenant) {
	s := t.stream
	switch {
	case s.over:
		t.attached()
		r.mu.Lock()
		delete(r.tenants, id)
		r.mu.Unlock()
	case s.link == nil && s.gone && s.eof:
		// The client said goodbye and got nothing more to say.
		s.end(nil, resetDone)
	case s.link == nil && t.expiry == nil:
		t.expiry = time.AfterFunc(r.keep, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.link == nil {
				s.end(&BrokenError{errExpired}, resetExpired)
			}
		})
	}
}

// attached stops the clock of a stream that has a wire again.
func (t *tenant) attached() {
	if t.expiry != nil {
		t.expiry.Stop()
		t.expiry = nil
	}
}
