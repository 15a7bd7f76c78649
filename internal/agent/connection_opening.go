//go:build linux || darwin

package agent

import (
	"net"
	"slices"
	"strings"
	"time"
)

const (
	// handshakeTimeout is sshd's LoginGraceTime: users type passphrases meanwhile.
	handshakeTimeout = 2 * time.Minute
	// greetingTimeout is how long a client may say nothing at all. Every client
	// sends its version without waiting for anything (RFC 4253 §4.2).
	greetingTimeout = 30 * time.Second
	// maxOpening is how many connections may be in their handshake, apart from
	// maxConnections that have logged in.
	maxOpening     = 100
	maxConnections = 1024
	// maxGuests of them may be guests, so that these do not shut out owners.
	maxGuests    = 256
	maxAuthTries = 6
)

// An opening is a connection in its handshake.
type opening struct {
	conn  net.Conn
	owner bool // the front door has verified that it is of the owner's account
}

// admit takes a new connection in. None is when the twin is about to be deleted:
// its stream ends before a byte of SSH, so that its client knows that nothing has
// happened yet and can begin anew elsewhere.
//
// When there are too many in their handshake
// already, the oldest has to go: whoever fills the places and says nothing loses
// them to those who log in, which takes a moment. sshd's MaxStartups, which turns
// away at random who comes, would shut the owner out.
func (s *server) admit(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusing || s.stopping || len(s.conns) >= maxConnections {
		return false
	}
	if len(s.opening) >= maxOpening {
		s.displace()
	}
	owner := s.settings.Owner != "" && strings.EqualFold(principal(nc), s.settings.Owner)
	s.opening = append(s.opening, &opening{nc, owner})
	return true
}

// A greeted connection has greetingTimeout for its first byte, and from then on
// handshakeTimeout.
type greeted struct {
	net.Conn
	heard bool // used by Read alone, which SSH calls from one goroutine
}

func greet(nc net.Conn) (*greeted, error) {
	return &greeted{Conn: nc}, nc.SetDeadline(time.Now().Add(greetingTimeout))
}

func (g *greeted) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 && !g.heard {
		g.heard = true
		if failed := g.SetDeadline(time.Now().Add(handshakeTimeout)); failed != nil && err == nil {
			err = failed
		}
	}
	return n, err
}

// room says whether one more may stay that has logged in. The mutex is held.
func (s *server) room(c *connection) bool {
	guests := 0
	for other := range s.conns {
		if other.caller.guest {
			guests++
		}
	}
	return len(s.conns) < maxConnections && (!c.caller.guest || guests < maxGuests)
}

// displace ends the oldest handshake that is not known to be the owner's. The
// mutex is held.
func (s *server) displace() {
	i := max(0, slices.IndexFunc(s.opening, func(o *opening) bool { return !o.owner }))
	victim := s.opening[i].conn
	s.opened(victim)
	s.log.Warn("connection refused", "remote", victim.RemoteAddr().String(), "reason", "too many connections are logging in")
	// Its handshake fails then. It may wait for a peer.
	go abortStream(victim)
}

// opened ends the handshake of a connection, however it went. The mutex is held.
func (s *server) opened(nc net.Conn) {
	s.opening = slices.DeleteFunc(s.opening, func(o *opening) bool { return o.conn == nc })
	close(s.openings)
	s.openings = make(chan struct{})
}

// awaitOpenings returns when no connection is in its handshake, or at the timeout.
func (s *server) awaitOpenings(timeout time.Duration) {
	end := time.NewTimer(timeout)
	defer end.Stop()
	for {
		s.mu.Lock()
		n, changed := s.logIns(), s.openings
		s.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-changed:
		case <-end.C:
			return
		}
	}
}

// logIns counts the handshakes whose clients are within reach. The mutex is held.
func (s *server) logIns() (n uint32) {
	for _, o := range s.opening {
		if _, lost := detachedSince(o.conn); !lost {
			n++
		}
	}
	return n
}

// abortStream ends a connection without waiting for a peer that is gone.
func abortStream(nc net.Conn) {
	if conn, ok := nc.(interface{ Abort() error }); ok {
		conn.Abort() //nolint:errcheck // it is being given up
		return
	}
	nc.Close() //nolint:errcheck // as above
}

// detachedSince tells since when the client of a stream has been out of reach.
func detachedSince(nc net.Conn) (since time.Time, ok bool) {
	if conn, can := nc.(interface{ Detached() (time.Time, bool) }); can {
		return conn.Detached()
	}
	return time.Time{}, false
}

// streamID names a stream as its client knows it, in hex; "" if it has no name.
func streamID(nc net.Conn) string {
	if conn, ok := nc.(interface{ ID() string }); ok {
		return conn.ID()
	}
	return ""
}
