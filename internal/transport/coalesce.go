package transport

import (
	"io"
	"net"
	"net/http"
	"sync"
)

// holdLimit is how much is gathered before it is sent in any case.
const holdLimit = 2 * readLimit

// A coalescer gathers the pieces in which the WebSocket library writes a
// message. On the client, where it masks through a buffer of 4 KiB, that is
// sixteen for a full frame, each of which would be a system call and, under
// TLS, a record of its own; on the agent it is three.
//
// Between hold and Flush everything is gathered. What the library writes by
// itself at other times, control frames, goes out at once.
type coalescer struct {
	io.ReadWriteCloser
	heard func() // called when something came
	// vectors says that large pieces need no copying: the network takes them
	// together with the small ones, and they stay as they are until Flush.
	vectors bool

	mu   sync.Mutex
	held bool
	size int
	buf  []byte      // copied pieces
	mark int         // how many of them stand before the last large piece
	out  net.Buffers // pieces before buf[mark:]
	keep [4][]byte   // what out is made of
}

// smallPiece is the greatest one that is copied where large ones are not.
const smallPiece = 4096

func (c *coalescer) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	if n > 0 {
		c.heard()
	}
	return n, err
}

// hold gathers what is written until Flush.
func (c *coalescer) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

func (c *coalescer) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held && c.size == 0 {
		return c.ReadWriteCloser.Write(p)
	}
	c.size += len(p)
	if c.vectors && len(p) > smallPiece {
		c.cut()
		c.out = append(c.out, p)
	} else {
		c.buf = append(c.buf, p...)
	}
	if c.held && c.size < holdLimit {
		return len(p), nil
	}
	if err := c.send(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// cut moves the copied pieces so far to those that go out.
func (c *coalescer) cut() {
	if len(c.buf) > c.mark {
		c.out = append(c.out, c.buf[c.mark:])
		c.mark = len(c.buf)
	}
}

// Flush sends what is held back.
func (c *coalescer) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	return c.send()
}

func (c *coalescer) send() error {
	if c.size == 0 {
		return nil
	}
	var err error
	if len(c.out) == 0 {
		_, err = c.ReadWriteCloser.Write(c.buf)
	} else {
		c.cut()
		conn, _ := c.ReadWriteCloser.(net.Conn)
		_, err = c.out.WriteTo(conn)
	}
	clear(c.keep[:])
	c.out, c.buf, c.mark, c.size = c.keep[:0], c.buf[:0], 0, 0
	return err
}

// An upgrader is the RoundTripper that puts a coalescer around the connection
// of a 101 answer. There it is above TLS and works through proxies, where a
// dial function of our own would be skipped.
type upgrader struct {
	base  http.RoundTripper
	heard func()     // for the coalescer
	conn  *coalescer // nil until there was an upgrade
}

func (u *upgrader) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := u.base.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return resp, err
	}
	if conn, ok := resp.Body.(io.ReadWriteCloser); ok {
		u.conn = &coalescer{ReadWriteCloser: conn, heard: u.heard}
		resp.Body = u.conn
	}
	return resp, nil
}
