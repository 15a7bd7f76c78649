//go:build linux || darwin

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A connection is an authenticated SSH connection.
type connection struct {
	*ssh.ServerConn
	server *server
	stream net.Conn // below SSH
	caller caller
	log    *slog.Logger

	// ctx ends with the connection.
	ctx context.Context //nolint:containedctx // the life of the connection, which no call has

	// Guarded by the server's mutex.
	leaving bool
	holding bool // it is there to hold the instance, nobody sits at it

	serving sync.WaitGroup // whatever ends with it

	mu          sync.Mutex
	sessions    map[*session]bool
	noSessions  bool // the client said that it wants no more
	forwards    int  // forwarded connections, in either direction
	listeners   map[bound][]net.Listener
	agentSocket string // leads to the client's SSH agent; "" if nobody asked
}

// handle serves one connection to its end.
func (s *server) handle(nc net.Conn) {
	c, channels, requests, err := s.handshake(nc)
	if err != nil {
		s.mu.Lock()
		s.opened(nc)
		s.mu.Unlock()
		// Cloud Run's IAM check comes before this: no port scan gets here, and
		// who fails to log in is worth a line.
		s.log.Warn("connection refused", "remote", nc.RemoteAddr().String(), "reason", err.Error())
		nc.Close() //nolint:errcheck // it is of no use
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.ctx = ctx
	defer c.Close() //nolint:errcheck // ended already, as a rule
	if !s.register(c) {
		c.log.Info("connection refused", "reason", "no more connections are taken")
		return
	}
	c.log.Info("connection opened", "guest", c.caller.guest)
	start := time.Now()
	c.serve(channels, requests)
	// It counts no longer, though its processes may take a while to end:
	// another client's leave@cloudssh must not wait for a dead connection.
	s.unregister(c)
	cancel()
	c.serving.Wait()
	c.log.Info("connection closed", "seconds", int(time.Since(start).Seconds()))
}

// spawn runs what ends with the connection. A mistake of ours in it ends this
// connection, and not the program with everybody's.
func (c *connection) spawn(f func()) {
	c.serving.Go(func() {
		defer c.survive()
		f()
	})
}

// survive is deferred.
func (c *connection) survive() {
	if reason := recover(); reason != nil {
		c.log.Error("connection ended by a panic", "reason", fmt.Sprint(reason), "stack", string(debug.Stack()))
		c.abort()
	}
}

// handshake takes a connection through key exchange and authentication.
func (s *server) handshake(nc net.Conn) (*connection, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	timed, err := greet(nc)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("setting a deadline: %w", err)
	}
	config := *s.ssh
	config.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		return s.authorize(key, principal(nc))
	}
	conn, channels, requests, err := ssh.NewServerConn(timed, &config)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("handshake: %w", err)
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return nil, nil, nil, fmt.Errorf("clearing the deadline: %w", err)
	}
	who := caller{name: conn.Permissions.Extensions[extensionName], guest: conn.Permissions.Extensions[extensionGuest] != ""}
	return &connection{
		ServerConn: conn,
		server:     s,
		stream:     nc,
		caller:     who,
		log: s.log.With("remote", nc.RemoteAddr().String(), "user", conn.User(), "caller", who.name,
			"key", conn.Permissions.Extensions[extensionKey], "client", string(conn.ClientVersion())),
		sessions:  make(map[*session]bool),
		listeners: make(map[bound][]net.Listener),
	}, channels, requests, nil
}

// Extensions of ssh.Permissions, in which authorize tells what it found.
const (
	extensionKey   = "key"   // fingerprint
	extensionName  = "name"  // of the caller
	extensionGuest = "guest" // set for guests
)

// authorize decides who may log in with a key, and as what: an owner by one of
// the authorized keys, or by the account that the front door has verified (the
// same user at another machine); anybody else whom the front door let in, as a
// guest, while there is something to be a guest of.
func (s *server) authorize(key ssh.PublicKey, principal string) (*ssh.Permissions, error) {
	fingerprint := ssh.FingerprintSHA256(key)
	found := map[string]string{extensionKey: fingerprint, extensionName: cmp.Or(principal, fingerprint)}
	switch {
	case s.keys[string(key.Marshal())]:
	case principal != "" && strings.EqualFold(principal, s.settings.Owner):
	case s.shells.shared():
		found[extensionName], found[extensionGuest] = cmp.Or(principal, "someone"), "yes"
	default:
		return nil, errors.New("unknown public key")
	}
	return &ssh.Permissions{Extensions: found}, nil
}

// principal is who the front door says the caller is.
func principal(nc net.Conn) string {
	if conn, ok := nc.(interface{ Principal() string }); ok {
		return conn.Principal()
	}
	return ""
}

// detached tells since when the client has been out of reach.
func (c *connection) detached() (since time.Time, ok bool) {
	return detachedSince(c.stream)
}

// abort ends the connection without waiting for a client that is gone.
func (c *connection) abort() {
	abortStream(c.stream)
}
