//go:build linux || darwin

package agent

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// forwardDialTimeout bounds how long a connection for `ssh -L` may take to
	// come about; TCP's own patience is minutes.
	forwardDialTimeout = 10 * time.Second
	// maxForwards is per connection: a browser opens dozens at once.
	maxForwards = 256
)

// forward serves a direct-tcpip channel (RFC 4254 §7.2): a TCP connection from
// here to where the client asks.
func (c *connection) forward(channel ssh.NewChannel, serving *sync.WaitGroup) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if ssh.Unmarshal(channel.ExtraData(), &to) != nil || to.Port > 65535 {
		channel.Reject(ssh.ConnectionFailed, "malformed request") //nolint:errcheck // the connection reports its own end
		return
	}
	if !c.takeForward(1) {
		channel.Reject(ssh.ResourceShortage, "too many forwarded connections") //nolint:errcheck // as above
		return
	}
	serving.Go(func() { // not to keep other channels waiting
		defer c.takeForward(-1)
		ctx, cancel := context.WithTimeout(c.ctx, forwardDialTimeout)
		defer cancel()
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
		if err != nil {
			channel.Reject(ssh.ConnectionFailed, err.Error()) //nolint:errcheck // as above
			return
		}
		defer conn.Close() //nolint:errcheck // both directions have ended
		ch, requests, err := channel.Accept()
		if err != nil {
			return
		}
		defer ch.Close() //nolint:errcheck // as above
		pump(c.ctx, ch, requests, conn)
	})
}

// takeForward counts forwarded connections up and down.
func (c *connection) takeForward(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forwards+n > maxForwards {
		return false
	}
	c.forwards += n
	return true
}

// halfCloser is what both ends of a forwarding can do: end one direction.
type halfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// pump moves bytes both ways until both directions have ended, the client has
// closed the channel, or ctx ends. The end of one direction is passed on by
// itself: protocols that say all and then listen rely on it.
func pump(ctx context.Context, ch ssh.Channel, requests <-chan *ssh.Request, conn net.Conn) {
	tcp, ok := conn.(halfCloser)
	if !ok { // cannot happen: it was dialled as TCP
		return
	}
	defer context.AfterFunc(ctx, func() { tcp.Close() })() //nolint:errcheck // it is being given up
	uploaded := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		defer close(uploaded)
		copyOneWay(tcp, ch, ch, tcp)
	})
	both.Go(func() { copyOneWay(ch, tcp, ch, tcp) })
	go func() {
		ssh.DiscardRequests(requests)
		// A client that has closed its channel hears nothing more, but what it
		// sent before is still to be delivered.
		<-uploaded
		tcp.Close() //nolint:errcheck // see above
	}()
	both.Wait()
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
