package transport

import (
	"io"
	"net/http"
	"sync"
)

// A coalescer gathers the pieces in which the WebSocket library's client writes
// a message. Each would be a system call and, under TLS, a record of its own:
// sixteen for a full frame.
//
// Between hold and Flush everything is gathered. What the library writes by
// itself at other times, control frames, goes out at once.
type coalescer struct {
	io.ReadWriteCloser

	mu   sync.Mutex
	held bool
	buf  []byte
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
	if !c.held && len(c.buf) == 0 {
		return c.ReadWriteCloser.Write(p)
	}
	c.buf = append(c.buf, p...)
	if c.held && len(c.buf) < 2*readLimit {
		return len(p), nil
	}
	if err := c.send(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush sends what is held back.
func (c *coalescer) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	return c.send()
}

func (c *coalescer) send() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.ReadWriteCloser.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// An upgrader is the RoundTripper that puts a coalescer around the connection
// of a 101 answer. There it is above TLS and works through proxies, where a
// dial function of our own would be skipped.
type upgrader struct {
	base http.RoundTripper
	conn *coalescer // nil until there was an upgrade
}

func (u *upgrader) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := u.base.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return resp, err
	}
	if conn, ok := resp.Body.(io.ReadWriteCloser); ok {
		u.conn = &coalescer{ReadWriteCloser: conn}
		resp.Body = u.conn
	}
	return resp, nil
}
