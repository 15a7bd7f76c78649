//go:build linux || darwin

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// maxListeners is per connection.
	maxListeners = 64
	// lookupTimeout bounds how long the name of an address to listen on may take:
	// other global requests wait behind it, for they are answered in order.
	lookupTimeout = 3 * time.Second
	// portAttempts is how often a port that one address has free is looked for on
	// the others as well.
	portAttempts = 8
)

// A bound is what a client has had us listen on, as it named it: it names it
// again to cancel, and we to tell of a connection.
type bound struct {
	address string // or the path of a socket
	port    uint32 // 0: it is a path
}

// listenTCP serves the global request tcpip-forward (RFC 4254 §7.1). The answer
// has the port if that was ours to choose, or our reason for our own client;
// others have no place for one.
func (c *connection) listenTCP(payload []byte) (bool, []byte) {
	var req struct {
		Address string
		Port    uint32
	}
	if ssh.Unmarshal(payload, &req) != nil || req.Port > 65535 {
		return false, nil
	}
	if err := c.roomToListen(); err != nil {
		return c.refuseListening(err)
	}
	listeners, port, err := listenOn(c.ctx, req.Address, req.Port)
	if err != nil {
		return c.refuseListening(fmt.Errorf("listening on %s: %s", net.JoinHostPort(req.Address, strconv.Itoa(int(req.Port))), listenReason(err, req.Port)))
	}
	c.startListening(bound{req.Address, port}, listeners, forwardedTCP, func(conn net.Conn) []byte {
		from, _ := conn.RemoteAddr().(*net.TCPAddr)
		return ssh.Marshal(struct {
			Address    string
			Port       uint32
			OriginHost string
			OriginPort uint32
		}{req.Address, port, from.IP.String(), uint32(from.Port)})
	})
	if req.Port != 0 {
		return true, nil
	}
	return true, ssh.Marshal(struct{ Port uint32 }{port})
}

// listenSocket serves streamlocal-forward@openssh.com (OpenSSH's PROTOCOL, 2.4).
func (c *connection) listenSocket(payload []byte) (bool, []byte) {
	var req struct{ Path string }
	if ssh.Unmarshal(payload, &req) != nil {
		return false, nil
	}
	if err := c.roomToListen(); err != nil {
		return c.refuseListening(err)
	}
	l, err := listenUnix(req.Path)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("listening on %s: the file exists", req.Path)
		}
		return c.refuseListening(err)
	}
	c.startListening(bound{address: req.Path}, []net.Listener{l}, forwardedUnix, func(net.Conn) []byte {
		return ssh.Marshal(struct{ Path, Reserved string }{Path: req.Path})
	})
	return true, nil
}

func (c *connection) cancelTCP(payload []byte) bool {
	var req struct {
		Address string
		Port    uint32
	}
	return ssh.Unmarshal(payload, &req) == nil && req.Port != 0 && c.stopListening(bound{req.Address, req.Port})
}

func (c *connection) cancelSocket(payload []byte) bool {
	var req struct{ Path string }
	return ssh.Unmarshal(payload, &req) == nil && c.stopListening(bound{address: req.Path})
}

func (c *connection) refuseListening(err error) (bool, []byte) {
	c.log.Info("remote forwarding refused", "reason", err.Error())
	if strings.HasPrefix(string(c.ClientVersion()), "SSH-2.0-cloudssh") {
		return false, []byte(err.Error())
	}
	return false, nil
}

// listenReason says why a port cannot be listened on.
func listenReason(err error, port uint32) string {
	reason := plainReason(err)
	switch {
	case errors.Is(err, syscall.EACCES) && port < 1024:
		return reason + ": ports below 1024 are root's, as a rule, and the app does not run as root"
	case errors.Is(err, syscall.EADDRINUSE):
		if who, ok := portHolder(port); ok {
			return reason + " by " + who
		}
	}
	return reason
}

func (c *connection) roomToListen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.listeners) >= maxListeners {
		return fmt.Errorf("one connection may listen on %d addresses", maxListeners)
	}
	return nil
}

// startListening serves listeners until they are cancelled or the connection
// ends. Only serve comes here, one request after the other.
func (c *connection) startListening(b bound, listeners []net.Listener, kind string, payload func(net.Conn) []byte) {
	c.mu.Lock()
	c.listeners[b] = listeners
	c.mu.Unlock()
	for _, l := range listeners {
		c.log.Info("listening", "address", l.Addr().String())
		c.spawn(func() { c.serveListener(l, kind, payload) })
	}
}

// stopListening leaves the connections alone that there are already.
func (c *connection) stopListening(b bound) bool {
	c.mu.Lock()
	listeners, ok := c.listeners[b]
	delete(c.listeners, b)
	c.mu.Unlock()
	for _, l := range listeners {
		l.Close() //nolint:errcheck // nobody else closes it while the connection lasts
		c.log.Info("no longer listening", "address", l.Addr().String())
	}
	return ok
}

// acceptPause is how long a listener waits when there are no file descriptors.
const acceptPause = 100 * time.Millisecond

// serveListener offers the client each connection that comes, on a channel of
// this kind, until the listener closes. The connection's end closes it.
func (c *connection) serveListener(l net.Listener, kind string, payload func(net.Conn) []byte) {
	defer l.Close()                                        //nolint:errcheck // it was closed, or is of no use
	defer context.AfterFunc(c.ctx, func() { l.Close() })() //nolint:errcheck // nobody accepts any more
	full := false
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			select {
			case <-time.After(acceptPause):
			case <-c.ctx.Done():
			}
			continue
		case err != nil:
			c.log.Warn("remote forwarding ended", "address", l.Addr().String(), "reason", plainReason(err))
			return
		}
		if !c.takeForward() {
			if !full { // once: there may be many
				c.log.Warn("forwarded connections refused", "address", l.Addr().String(), "reason", tooManyForwards().text)
			}
			full = true
			conn.Close() //nolint:errcheck // nobody has used it
			continue
		}
		full = false
		c.spawn(func() { c.offer(conn, kind, payload(conn)) })
	}
}

// offer asks the client to take a connection. It has a place among the forwarded
// ones, and gives it back.
func (c *connection) offer(conn net.Conn, kind string, payload []byte) {
	defer c.endForward()
	ch, requests, err := c.OpenChannel(kind, payload)
	if err != nil {
		c.log.Debug("the client did not take a connection", "kind", kind, "reason", err.Error())
		conn.Close() //nolint:errcheck // nobody has used it
		return
	}
	pump(c.ctx, ch, requests, conn, c.server.buffers)
}

// listenOn listens on an address as RFC 4254 §7.1 means it: "" is everywhere,
// "localhost" all loopback addresses. A "*" comes from clients that do not
// translate what their users say. Port 0 is a port that is free.
func listenOn(ctx context.Context, address string, port uint32) (all []net.Listener, chosen uint32, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	hosts := []string{address}
	switch {
	case address == "" || address == "*":
		hosts = []string{""} // one socket for both families, where there are both
	case strings.EqualFold(address, "localhost"):
		hosts = []string{"127.0.0.1", "::1"}
	}
	for range portAttempts {
		all, chosen, err = listenAt(ctx, hosts, port)
		if err == nil || port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return all, chosen, err
}

// listenAt listens on all hosts, on the same port.
func listenAt(ctx context.Context, hosts []string, port uint32) (all []net.Listener, chosen uint32, err error) {
	chosen = port
	for _, host := range hosts {
		l, err := new(net.ListenConfig).Listen(ctx, network(host), net.JoinHostPort(host, strconv.Itoa(int(chosen))))
		if err != nil && len(all) > 0 && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)) {
			continue // no IPv6 here
		}
		if err != nil {
			for _, l := range all {
				l.Close() //nolint:errcheck // nobody knows of it
			}
			return nil, 0, err
		}
		all = append(all, l)
		if addr, ok := l.Addr().(*net.TCPAddr); ok {
			chosen = uint32(addr.Port)
		}
	}
	return all, chosen, nil
}

// network keeps 0.0.0.0 to IPv4 and :: to IPv6: Go would take both for "all".
func network(host string) string {
	switch ip := net.ParseIP(host); {
	case ip == nil:
		return "tcp"
	case ip.To4() != nil:
		return "tcp4"
	}
	return "tcp6"
}
