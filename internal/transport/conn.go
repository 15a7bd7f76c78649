package transport

import "time"

// Principal is, on the agent's side, the e-mail address of the caller out of
// the ID token that the front door has verified; "" if there was none.
func (c *Conn) Principal() string { return "" }

// Detached says, on the agent's side, since when no wire carries the stream.
func (c *Conn) Detached() (since time.Time, ok bool) { return time.Time{}, false }

// CloseWrite ends our side of the stream: the peer reads io.EOF after what was
// written. Read goes on.
func (c *Conn) CloseWrite() error { return nil }

// Abort ends the stream at once, without waiting for anything.
func (c *Conn) Abort() error { return c.Close() }

// Probe looks after the connection now, because a key was pressed: a silent one
// is probed, a lost one is tried again without further delay.
func (c *Conn) Probe() {}

// Stats are the stream's counts so far.
func (c *Conn) Stats() Stats { return Stats{} }
