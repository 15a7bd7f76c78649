package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// maxWaiting is how many connections may wait to be accepted by one listener.
const maxWaiting = 128

// Listen has the agent listen in the instance. The network is tcp, and the
// address HOST:PORT: an empty host means every address of the instance,
// localhost both of its loopback addresses, port 0 one that the agent chooses.
// Or the network is unix, and the address the path of a socket. Closing the
// listener takes it away again; so does the end of the connection, when Accept
// fails. A *RefusedError is the agent's answer.
func (c *Client) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l := &listener{client: c, addr: addr{network, address}, waiting: make(chan ssh.NewChannel, maxWaiting), closed: make(chan struct{})}
	switch network {
	case "tcp":
		host, port, err := splitAddress(address)
		if err != nil {
			return nil, err
		}
		l.start, l.cancel, l.host, l.port = "tcpip-forward", "cancel-tcpip-forward", host, port
	case "unix":
		l.start, l.cancel = "streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com"
		l.host = address
	default:
		return nil, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	if !c.listeners.add(l) {
		return nil, fmt.Errorf("listening on %s in the instance: %w", address, errors.New("this connection listens there already"))
	}
	reply, err := c.ask(ctx, l.start, l.request())
	var denied *deniedError
	switch {
	case errors.As(err, &denied):
		err = &RefusedError{Reason: strings.TrimPrefix(denied.reason, "listening on "+address+": ")} // which is said below
	case err == nil && network == "tcp" && l.port == 0:
		err = l.chosen(reply)
	}
	if err != nil {
		c.listeners.remove(l)
		return nil, fmt.Errorf("listening on %s in the instance: %w", address, err)
	}
	return l, nil
}

// listener is a listener of the agent.
type listener struct {
	client        *Client
	start, cancel string // the requests
	addr          addr
	host          string // or the path of a socket
	port          uint32 // guarded by the mutex of listeners until Listen returns

	waiting chan ssh.NewChannel
	closing sync.Once
	closed  chan struct{}
}

// request is the payload of the requests to start and to cancel: RFC 4254
// section 7.1, and for sockets OpenSSH's PROTOCOL, section 2.4.
func (l *listener) request() []byte {
	if l.addr.network == "unix" {
		return ssh.Marshal(struct{ Path string }{l.host})
	}
	return ssh.Marshal(struct {
		Host string
		Port uint32
	}{l.host, l.port})
}

// chosen takes the port that the agent has chosen.
func (l *listener) chosen(reply []byte) error {
	var m struct{ Port uint32 }
	if err := ssh.Unmarshal(reply, &m); err != nil || m.Port == 0 || m.Port > 65535 {
		return errors.New("the agent does not say which port it chose")
	}
	l.addr.text = net.JoinHostPort(l.host, strconv.Itoa(int(m.Port)))
	l.client.listeners.settle(l, m.Port)
	return nil
}

// Addr is the address in the instance, with the port that the agent chose.
func (l *listener) Addr() net.Addr { return l.addr }

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		select {
		case <-l.closed:
			return nil, &net.OpError{Op: "accept", Net: l.addr.network, Addr: l.addr, Err: net.ErrClosed}
		case <-l.client.done:
			return nil, &net.OpError{Op: "accept", Net: l.addr.network, Addr: l.addr, Err: l.client.lost()}
		case nc := <-l.waiting:
			ch, reqs, err := nc.Accept()
			if err != nil {
				continue // the connection is ending
			}
			return newForwarded(l.client, ch, reqs, l.addr, originator(l.addr.network, nc)), nil
		}
	}
}

// originator is who has connected.
func originator(network string, nc ssh.NewChannel) addr {
	var m forwardedTCP
	if network != "tcp" || ssh.Unmarshal(nc.ExtraData(), &m) != nil {
		return addr{network, "cloudssh"}
	}
	return addr{network, net.JoinHostPort(m.Originator, strconv.Itoa(int(m.OriginPort)))}
}

// Close has the agent stop listening, and does not wait long for it.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.closing.Do(func() {
		close(l.closed)
		l.client.listeners.remove(l)
		ctx, cancel := context.WithTimeout(context.Background(), l.client.grace)
		defer cancel()
		_, err = l.client.ask(ctx, l.cancel, l.request())
		select {
		case <-l.client.done:
			err = nil // it has ended with the connection
		default:
		}
		l.rejectWaiting()
	})
	if err != nil {
		return fmt.Errorf("ending to listen on %s in the instance: %w", l.addr, err)
	}
	return nil
}

// rejectWaiting refuses those that nobody will accept any more.
func (l *listener) rejectWaiting() {
	for {
		select {
		case nc := <-l.waiting:
			_ = nc.Reject(ssh.ConnectionFailed, "nobody listens any more") // fails with the connection
		default:
			return
		}
	}
}
