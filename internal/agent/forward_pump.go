//go:build linux || darwin

package agent

import (
	"context"
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
func pump(ctx context.Context, ch ssh.Channel, requests <-chan *ssh.Request, conn net.Conn) {
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
		copyOneWay(end, ch, ch, end)
	})
	both.Go(func() { copyOneWay(ch, end, ch, end) })
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

// copyOneWay passes the end of a direction on. One that broke cannot be ended in
// good order: whoever waits for it would take what came for all there is. Then
// both ends are closed.
func copyOneWay(to, from halfCloser, ends ...io.Closer) {
	_, err := io.Copy(to, from)
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		closeEach(ends)
	}
}

func closeEach(all []io.Closer) {
	for _, c := range all {
		c.Close() //nolint:errcheck // it is being given up
	}
}
