//go:build linux || darwin

package agent

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// forwardDialTimeout bounds how long a connection for `ssh -L` may take to
	// come about; TCP's own patience is minutes.
	forwardDialTimeout = 10 * time.Second
	// maxForwards is how many forwarded connections one connection may have at a
	// time, in either direction: a browser opens dozens at once.
	maxForwards = 256
)

// The channels that RFC 4254 §7.2 and OpenSSH's PROTOCOL, 2.4, define.
const (
	directTCP     = "direct-tcpip"
	directUnix    = "direct-streamlocal@openssh.com"
	forwardedTCP  = "forwarded-tcpip"
	forwardedUnix = "forwarded-streamlocal@openssh.com"
)

// A target is what a client wants to be connected with.
type target struct {
	network string // tcp or unix
	host    string
	port    uint32
	path    string
}

func (t target) String() string {
	if t.network == "unix" {
		return t.path
	}
	return net.JoinHostPort(t.host, strconv.Itoa(int(t.port)))
}

// parseDirect reads the request for a channel that leads from here to elsewhere.
func parseDirect(kind string, extra []byte) (target, *refusal) {
	malformed := &refusal{ssh.ConnectionFailed, "malformed request"}
	switch kind {
	case directTCP:
		var to struct {
			Host       string
			Port       uint32
			OriginHost string
			OriginPort uint32
		}
		if ssh.Unmarshal(extra, &to) != nil || to.Port > 65535 {
			return target{}, malformed
		}
		return target{network: "tcp", host: to.Host, port: to.Port}, nil
	case directUnix:
		var to struct {
			Path     string
			Reserved string
			Unused   uint32
		}
		if ssh.Unmarshal(extra, &to) != nil {
			return target{}, malformed
		}
		if err := checkSocketPath(to.Path); err != nil {
			return target{}, &refusal{ssh.ConnectionFailed, err.Error()}
		}
		return target{network: "unix", path: to.Path}, nil
	}
	return target{}, unsupported(kind)
}

// forward serves a channel that leads to a target. It has a place among the
// forwarded connections, and gives it back.
func (c *connection) forward(channel ssh.NewChannel, to target) {
	defer c.endForward()
	ctx, cancel := context.WithTimeout(c.ctx, forwardDialTimeout)
	defer cancel()
	conn, err := c.server.dial(ctx, to)
	if err != nil {
		reject(channel, &refusal{ssh.ConnectionFailed, fmt.Sprintf("connecting to %s: %s", to, plainReason(err))})
		return
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		conn.Close() //nolint:errcheck // nobody has used it
		return
	}
	pump(c.ctx, ch, requests, conn, c.server.buffers)
}

// dial connects with the target.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	if t.network == "unix" {
		return dialer.DialContext(ctx, "unix", t.path)
	}
	if !strings.EqualFold(strings.TrimSuffix(t.host, "."), "localhost") {
		return dialer.DialContext(ctx, "tcp", t.String())
	}
	// Images need not have an /etc/hosts, and no name server is to be asked.
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(t.port))))
	if err != nil {
		if six, sixErr := dialer.DialContext(ctx, "tcp", net.JoinHostPort("::1", strconv.Itoa(int(t.port)))); sixErr == nil {
			return six, nil
		}
	}
	return conn, err
}

// takeForward takes a place among the forwarded connections, if there is one.
func (c *connection) takeForward() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forwards >= maxForwards {
		return false
	}
	c.forwards++
	return true
}

func (c *connection) endForward() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forwards--
}

func tooManyForwards() *refusal {
	return &refusal{ssh.ResourceShortage, fmt.Sprintf("more than %d forwarded connections on one connection", maxForwards)}
}
