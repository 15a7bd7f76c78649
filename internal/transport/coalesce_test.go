package transport

import (
	"io"
	"testing"
)

// countingConn counts the writes that reach the network.
type countingConn struct {
	io.ReadWriteCloser
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	return len(p), nil
}

func (c *countingConn) Close() error { return nil }

func TestCoalescing(t *testing.T) {
	conn := &countingConn{}
	c := &coalescer{ReadWriteCloser: conn, heard: func() {}}
	piece := make([]byte, 4096)
	c.hold()
	for range 17 {
		c.Write(piece)
	}
	if conn.writes != 0 {
		t.Fatalf("%d writes before the end of the message", conn.writes)
	}
	c.Flush()
	c.Flush()
	if conn.writes != 1 {
		t.Errorf("%d writes for a message, want 1", conn.writes)
	}
	c.Write(piece) // by the library itself
	if conn.writes != 2 {
		t.Errorf("%d writes after one that was not held", conn.writes)
	}
	c.hold()
	for range 100 {
		c.Write(piece)
	}
	if conn.writes < 3 || cap(c.buf) > 8*readLimit {
		t.Errorf("%d writes, %d bytes held: the buffer is not bounded", conn.writes, cap(c.buf))
	}
}
