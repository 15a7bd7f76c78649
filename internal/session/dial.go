package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// Dial connects to a TCP address as the agent sees it: localhost is the
// instance. The network is tcp, tcp4 or tcp6; which one counts where the name
// is looked up, in the instance. The connection knows no deadlines. When ctx
// ends during Dial it gives up; later it does nothing.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address %q: %w", address, err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("reading the port of %q: %w", address, err)
	}
	// The payload of direct-tcpip, RFC 4254 section 7.2. The originator is
	// for the log of servers only.
	ch, reqs, err := c.open(ctx, "direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Originator string
		OriginPort uint32
	}{host, uint32(port), "127.0.0.1", 0}))
	if err != nil {
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) && refused.Message != "" {
			err = errors.New(refused.Message)
		}
		return nil, fmt.Errorf("connecting to %s through the agent: %w", address, err)
	}
	go ssh.DiscardRequests(reqs)
	return &forwarded{Channel: ch, address: forwardedAddr(address)}, nil
}

// forwarded is a TCP connection of the agent.
type forwarded struct {
	ssh.Channel
	address forwardedAddr
}

type forwardedAddr string

func (forwardedAddr) Network() string  { return "tcp" }
func (a forwardedAddr) String() string { return string(a) }

func (f *forwarded) LocalAddr() net.Addr              { return forwardedAddr("agent") }
func (f *forwarded) RemoteAddr() net.Addr             { return f.address }
func (f *forwarded) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (f *forwarded) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (f *forwarded) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
