//go:build linux || darwin

package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
)

// halfCloser is what both ends of a forwarding can do: end one direction.
type halfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// pump moves bytes both ways until both directions have ended, the client has
// closed the channel, or ctx ends. The end of one direction is passed on by
// itself: protocols that say all and then listen rely on it.
//
// It closes both, and returns when the client has closed the channel, too: until
// then the SSH library keeps it, and what the client still sends on it.
func pump(ctx context.Context, ch ssh.Channel, requests <-chan *ssh.Request, conn net.Conn, buffers *sync.Pool) {
	defer conn.Close() //nolint:errcheck // both directions have ended
	end, ok := conn.(halfCloser)
	if !ok { // cannot happen: it is TCP or a Unix socket
		ch.Close() //nolint:errcheck // it is of no use
		return
	}
	defer context.AfterFunc(ctx, func() { end.Close() })() //nolint:errcheck // it is being given up
	uploaded, closed := make(chan struct{}), make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		defer close(uploaded)
		copyOneWay(end, ch, buffers)
	})
	both.Go(func() { copyOneWay(ch, end, buffers) })
	go func() {
		defer close(closed)
		ssh.DiscardRequests(requests)
		// A client that has closed its channel hears nothing more, but what it
		// sent before is still to be delivered.
		<-uploaded
		end.Close() //nolint:errcheck // see above
	}()
	both.Wait()
	ch.Close() //nolint:errcheck // the client may have been first
	<-closed
}

// A direction reads into a small buffer while little comes, and into a large one
// while much does: the SSH library tells the client after a read of its data how
// much it may send now, in a packet of its own, and longer reads make fewer of
// them. Large ones are shared by all directions, for most have nothing to do.
const (
	smallBuffer = 4 << 10
	largeBuffer = 128 << 10
)

func newBuffers() *sync.Pool {
	return &sync.Pool{New: func() any { return new([largeBuffer]byte) }}
}

// copyOneWay passes on what comes, and the end of it. When the other side takes no
// more it only stops: what it said before that, an early answer say, may still be
// on its way in the other direction. A direction that broke cannot be ended in good
// order, for whoever waits for its end would take what came for all there is: then
// both sides are closed.
func copyOneWay(to, from halfCloser, buffers *sync.Pool) {
	small, large := make([]byte, smallBuffer), (*[largeBuffer]byte)(nil)
	giveBack := func() {
		if large != nil {
			buffers.Put(large)
			large = nil
		}
	}
	defer giveBack()
	for {
		buf := small
		if large != nil {
			buf = large[:]
		}
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			to.CloseWrite() //nolint:errcheck // as when it takes no more
			return
		case err != nil:
			to.Close()   //nolint:errcheck // it is being given up
			from.Close() //nolint:errcheck // as above
			return
		case n < len(buf): // the next read may wait for long
			giveBack()
		case large == nil:
			large, _ = buffers.Get().(*[largeBuffer]byte)
		}
	}
}
