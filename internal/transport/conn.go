package transport

import (
	"encoding/hex"
	"net"
	"time"
)

// A Conn is a byte stream to the peer that outlives the network connections
// which carry it. Its deadlines are those of a TCP connection: passing one
// fails the call, never the connection.
//
// Read gives io.EOF when the peer closed its side, a *FinalError when the stream
// has ended otherwise, and a *BrokenError when it was lost and nobody resumed
// it.
type Conn struct {
	*stream
	id        streamID
	peer      Peer
	principal string
	keeper    *keeper // nil on the agent's side
}

var _ net.Conn = (*Conn)(nil)

// ID names the stream at both ends, in hex. It is no secret: coming back to a
// stream takes its key.
func (c *Conn) ID() string { return hex.EncodeToString(c.id[:]) }

// Peer says who is at the other end. On the agent's side it is what the agent
// itself told the client.
func (c *Conn) Peer() Peer { return c.peer }

// Principal is, on the agent's side, the e-mail address of the caller out of
// the ID token that the front door has verified; "" if there was none.
func (c *Conn) Principal() string { return c.principal }

// Detached says since when no wire carries the stream. ok is false while one
// does.
func (c *Conn) Detached() (since time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detached, c.link == nil
}

// Probe looks after the connection now, because a key was pressed: a silent one
// is probed, a lost one is tried again without further delay.
func (c *Conn) Probe() {
	if c.keeper != nil {
		c.keeper.hurry()
	}
}

// Stats are the stream's counts so far.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.BytesOut = c.out.end
	stats.Resumes = max(stats.Wires-1, 0)
	stats.Limit = minLimit
	if c.link != nil {
		flow := &c.link.flow
		stats.MinRTT, stats.Rate, stats.Limit = flow.minRTT, flow.rate(), int(flow.limit())
	}
	return stats
}
