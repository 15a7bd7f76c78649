package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Dial connects to an address as the agent sees it: localhost is the instance.
// The network is tcp, tcp4 or tcp6, and which one counts where the name is
// looked up, in the instance; or unix, and the address is the path of a socket
// there. The connection knows no deadlines. When ctx ends during Dial it gives
// up; later it does nothing. A *RefusedError is the agent's answer.
// The connection has the methods CloseWrite and Closed, too.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	kind, payload, err := dialRequest(network, address)
	if err != nil {
		return nil, err
	}
	ch, reqs, err := c.open(ctx, kind, payload)
	if err != nil {
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) {
			reason := strings.TrimPrefix(refused.Message, "connecting to "+address+": ") // which is said below
			err = &RefusedError{Reason: reason, Prohibited: refused.Reason == ssh.Prohibited}
		}
		return nil, fmt.Errorf("connecting to %s through the agent: %w", address, err)
	}
	return newForwarded(c, ch, reqs, addr{network, "cloudssh"}, addr{network, address}), nil
}

// dialRequest is the channel that is opened for an address: RFC 4254 section
// 7.2, and for sockets OpenSSH's PROTOCOL, section 2.4. The originator is for
// the log of servers only.
func dialRequest(network, address string) (kind string, payload []byte, err error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		host, port, err := splitAddress(address)
		if err != nil {
			return "", nil, err
		}
		return "direct-tcpip", ssh.Marshal(struct {
			Host       string
			Port       uint32
			Originator string
			OriginPort uint32
		}{host, port, "127.0.0.1", 0}), nil
	case "unix":
		return "direct-streamlocal@openssh.com", ssh.Marshal(struct {
			Path     string
			Reserved string
			Unused   uint32
		}{address, "", 0}), nil
	}
	return "", nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
}

func splitAddress(address string) (host string, port uint32, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("reading the address %q: %w", address, err)
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("reading the port of %q: %w", address, err)
	}
	return host, uint32(n), nil
}

// RefusedError says that the agent did not do what it was asked.
type RefusedError struct {
	Reason     string // in the agent's words; may be empty
	Prohibited bool   // it does not allow it, as opposed to trying in vain
}

func (e *RefusedError) Error() string {
	if e.Reason == "" {
		return errRefused.Error()
	}
	return e.Reason
}

// Is makes every refusal one for errors.Is.
func (e *RefusedError) Is(target error) bool { return target == errRefused }

// forwarded is a stream through the agent.
type forwarded struct {
	ssh.Channel
	client        *Client
	local, remote addr
	gone          chan struct{} // closed when the other side has closed the channel, or the connection has ended
}

func newForwarded(c *Client, ch ssh.Channel, reqs <-chan *ssh.Request, local, remote addr) *forwarded {
	f := &forwarded{Channel: ch, client: c, local: local, remote: remote, gone: make(chan struct{})}
	go func() {
		ssh.DiscardRequests(reqs)
		close(f.gone)
	}()
	return f
}

// Read returns io.EOF for an end that the other side has sent, and for no
// other: what comes when the connection is lost would look complete.
func (f *forwarded) Read(p []byte) (int, error) {
	n, err := f.Channel.Read(p)
	if errors.Is(err, io.EOF) {
		// It is noted before the channels of a lost connection end.
		if cause := f.client.broken(); cause != nil {
			err = fmt.Errorf("the connection was lost: %w", unexpected(cause))
		}
	}
	return n, err
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Closed is closed when the other side has closed the stream altogether, or the
// connection has ended; what came before may still be to be read.
func (f *forwarded) Closed() <-chan struct{} { return f.gone }

func (f *forwarded) LocalAddr() net.Addr              { return f.local }
func (f *forwarded) RemoteAddr() net.Addr             { return f.remote }
func (f *forwarded) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (f *forwarded) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (f *forwarded) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// addr is an address in the instance.
type addr struct{ network, text string }

func (a addr) Network() string { return a.network }
func (a addr) String() string  { return a.text }
