package transport

import (
	"io"
	"net/http"
	"sync"
)

// wsBuffer is the size of the buffer through which the WebSocket library's
// client masks what it sends: a long message leaves it in pieces of exactly
// this size and a shorter last one.
const wsBuffer = 4096

// A coalescer gathers the pieces in which the WebSocket library's client writes
// a message. Each would be a system call and, under TLS, a record of its own:
// sixteen for a full frame.
//
// A piece of full size is held back, a shorter one ends a message and lets all
// of it go. A message that is a multiple of the size has no shorter piece, so
// the link flushes after each. Control frames, which the library also writes
// by itself, are always shorter.
type coalescer struct {
	io.ReadWriteCloser

	mu  sync.Mutex
	buf []byte
}

func (c *coalescer) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = append(c.buf, p...)
	if len(p) == wsBuffer && len(c.buf) < 2*readLimit {
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
