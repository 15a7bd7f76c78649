package session

import (
	"io"
	"net"
	"sync"
)

// joinSize is what is read at once, in bytes: two packets of SSH, enough that
// giving the window back costs little, and little for one of a thousand
// connections.
const joinSize = 64 << 10

// Join passes on what either stream gives to the other until both have ended,
// and closes them. The end of one direction is passed on by itself, where a
// stream can do that: protocols that say all and then listen rely on it. When a
// stream breaks the other one is reset, if it can be, so that what came does not
// look complete.
func Join(a, b io.ReadWriteCloser) {
	over := make(chan struct{})
	var directions, watchers sync.WaitGroup
	one := func(to, from io.ReadWriteCloser) {
		readErr, writeErr := transfer(to, from, make([]byte, joinSize))
		switch {
		case readErr != nil:
			abort(to)
			abort(from)
		case writeErr != nil:
			_ = to.Close() // what comes from there is still to be read
		case endWriting(to):
			watchers.Go(func() { closeWhenGone(from, to, over) })
		}
	}
	directions.Go(func() { one(a, b) })
	directions.Go(func() { one(b, a) })
	directions.Wait()
	close(over)
	watchers.Wait()
	_ = a.Close() // all was said
	_ = b.Close()
}

// endWriting passes an end on. A stream that cannot be ended in one direction is
// closed.
func endWriting(to io.Closer) (goesOn bool) {
	if half, ok := to.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		return true
	}
	_ = to.Close()
	return false
}

// closeWhenGone closes to once from, all of which was read, takes nothing any
// more either.
func closeWhenGone(from, to io.Closer, over <-chan struct{}) {
	f, ok := from.(*forwarded)
	if !ok {
		return
	}
	select {
	case <-f.gone:
		_ = to.Close()
	case <-over:
	}
}

// abort closes a stream as one that broke.
func abort(c io.Closer) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be closed already
	}
	_ = c.Close()
}
