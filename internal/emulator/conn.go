package emulator

import (
	"context"
	"net"
	"sync/atomic"
)

// meteredConn is a client's connection that can be cut after so many more bytes.
type meteredConn struct {
	net.Conn
	limited atomic.Bool
	left    atomic.Int64
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.count(n)
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	if c.limited.Load() {
		if left := c.left.Load(); int64(len(p)) > left {
			n, err := c.Conn.Write(p[:max(left, 0)])
			c.count(len(p))
			if err == nil {
				err = net.ErrClosed
			}
			return n, err
		}
	}
	n, err := c.Conn.Write(p)
	c.count(n)
	return n, err
}

// count cuts the connection when the limit is passed: with a reset, as when a network goes away.
func (c *meteredConn) count(n int) {
	if !c.limited.Load() || c.left.Add(-int64(n)) > 0 {
		return
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a connection that cannot be set is cut all the same
	}
	_ = c.Close()
}

type meteredListener struct{ net.Listener }

func (l meteredListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &meteredConn{Conn: c}, nil
}

type connKey struct{}

// rememberConn is an http.Server.ConnContext.
func rememberConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// limitConn has the connection of a request cut after n more bytes; 0 takes an earlier limit away.
func limitConn(ctx context.Context, n int64) {
	if c, ok := ctx.Value(connKey{}).(*meteredConn); ok {
		c.left.Store(n)
		c.limited.Store(n > 0)
	}
}
