//go:build linux || darwin

package agent

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
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

	mu       sync.Mutex
	sessions map[*session]bool
	forwards int
}

// Status answers the global request status@cloudssh.
type Status struct {
	Connections    int    `json:"connections"`  // authenticated, the caller's included
	Sessions       int    `json:"sessions"`     // of all connections
	Detached       int    `json:"detached"`     // terminal sessions without a client
	Holders        int    `json:"holders"`      // connections that only hold the instance
	Started        int64  `json:"started"`      // of the agent, unix seconds
	Expires        int64  `json:"expires"`      // end of the lease, unix seconds; 0: none
	IdleTimeout    int64  `json:"idle_timeout"` // seconds; 0: none
	RequestTimeout int64  `json:"request_timeout"`
	Memory         int64  `json:"memory"` // resident size of the agent, bytes; 0: not known
	Version        string `json:"version"`
}

// handle serves one connection to its end.
func (s *server) handle(nc net.Conn) {
	c, channels, requests, err := s.handshake(nc)
	if err != nil {
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
	var serving sync.WaitGroup
	serving.Go(func() { c.serveRequests(requests) })
	for channel := range channels {
		c.open(channel, &serving)
	}
	// It counts no longer, though its processes may take a while to end:
	// another client's leave@cloudssh must not wait for a dead connection.
	s.unregister(c)
	cancel()
	serving.Wait()
	c.log.Info("connection closed", "seconds", int(time.Since(start).Seconds()))
}

// handshake takes a connection through key exchange and authentication.
func (s *server) handshake(nc net.Conn) (*connection, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	defer func() {
		s.mu.Lock()
		s.opening--
		s.mu.Unlock()
	}()
	if err := nc.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, nil, nil, fmt.Errorf("setting a deadline: %w", err)
	}
	config := *s.ssh
	config.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		return s.authorize(key, principal(nc))
	}
	conn, channels, requests, err := ssh.NewServerConn(nc, &config)
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
		sessions: make(map[*session]bool),
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
	if conn, can := c.stream.(interface{ Detached() (time.Time, bool) }); can {
		return conn.Detached()
	}
	return time.Time{}, false
}

// abort ends the connection without waiting for a client that is gone.
func (c *connection) abort() {
	if conn, ok := c.stream.(interface{ Abort() error }); ok {
		conn.Abort() //nolint:errcheck // it is being given up
		return
	}
	c.Close() //nolint:errcheck // as above
}

// open serves a new channel, or rejects it.
func (c *connection) open(channel ssh.NewChannel, serving *sync.WaitGroup) {
	switch kind := channel.ChannelType(); {
	case kind == "direct-tcpip" && !c.caller.guest:
		c.forward(channel, serving)
		return
	case kind == "direct-tcpip":
		channel.Reject(ssh.Prohibited, "guests cannot forward connections") //nolint:errcheck // the connection reports its own end
		return
	case kind != "session":
		channel.Reject(ssh.UnknownChannelType, fmt.Sprintf("channels of type %q are not supported", kind)) //nolint:errcheck // the connection reports its own end
		return
	}
	s := newSession(c)
	if !c.add(s) {
		channel.Reject(ssh.ResourceShortage, fmt.Sprintf("more than %d sessions on one connection", maxSessions)) //nolint:errcheck // as above
		return
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		c.remove(s)
		return
	}
	s.channel = ch
	serving.Go(func() {
		defer c.remove(s)
		s.serve(requests)
	})
}

func (c *connection) add(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) >= maxSessions {
		return false
	}
	c.sessions[s] = true
	return true
}

func (c *connection) remove(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}

func (c *connection) list() []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*session, 0, len(c.sessions))
	for s := range c.sessions {
		all = append(all, s)
	}
	return all
}

// serveRequests answers global requests. Not answering would stop the whole
// connection after sixteen of them.
func (c *connection) serveRequests(requests <-chan *ssh.Request) {
	for req := range requests {
		ok, payload := c.globalRequest(req.Type, req.Payload)
		if req.WantReply {
			req.Reply(ok, payload) //nolint:errcheck // the connection reports its own end
		}
	}
}

// globalRequest answers what guests may ask, too.
func (c *connection) globalRequest(kind string, payload []byte) (ok bool, answer []byte) {
	switch {
	case kind == "keepalive@openssh.com":
		return true, nil
	case kind == "sessions@cloudssh":
		text, err := json.Marshal(c.server.shells.list(c.caller))
		return err == nil, text
	case c.caller.guest:
		return false, nil
	}
	return c.ownerRequest(kind, payload)
}

func (c *connection) ownerRequest(kind string, payload []byte) (ok bool, answer []byte) {
	switch kind {
	case "leave@cloudssh":
		connections, detached := c.server.leave(c)
		return true, ssh.Marshal(struct{ Connections, Detached uint32 }{connections, detached})
	case "hold@cloudssh":
		c.server.hold(c)
		return true, nil
	case "gone@cloudssh":
		var req struct{ Connection string }
		return ssh.Unmarshal(payload, &req) == nil && c.server.gone(c, req.Connection), nil
	case "renew@cloudssh":
		var req struct{ Expires uint64 }
		return ssh.Unmarshal(payload, &req) == nil && c.server.renew(req.Expires, time.Now()), nil
	case "status@cloudssh":
		text, err := json.Marshal(c.server.status())
		return err == nil, text
	}
	return false, nil
}

// leave marks a connection as leaving and counts what stays: connections that
// neither leave nor only hold the instance, and sessions without a client. When
// there is nothing nobody may come any more: the caller will delete the twin,
// and who came now would lose it under his feet.
func (s *server) leave(c *connection) (connections, detached uint32) {
	for {
		s.mu.Lock()
		c.leaving = true
		generation, registered := s.generation, maps.Clone(s.conns)
		s.mu.Unlock()
		detached = s.withoutClient(registered) // which takes locks of its own
		s.mu.Lock()
		if s.generation == generation {
			break
		}
		s.mu.Unlock() // who came or went meanwhile is in neither number, or in both
	}
	for other := range s.conns {
		if !other.leaving && !other.holding {
			connections++
		}
	}
	last := connections == 0 && detached == 0 && !s.refusing
	s.refusing = s.refusing || last
	s.mu.Unlock()
	if last {
		s.log.Info("last connection leaves")
		if s.lastLeft != nil {
			s.lastLeft()
		}
	}
	return connections, detached
}

// withoutClient counts the sessions that stay though nobody is connected to
// them: those without a client, and those whose client's connection has just
// ended, which will notice in a moment that they are.
func (s *server) withoutClient(registered map[*connection]bool) (n uint32) {
	for _, shell := range s.shells.snapshot() {
		shell.mu.Lock()
		if client := shell.client; client == nil || shell.grace > 0 && !registered[client.session.conn] {
			n++
		}
		shell.mu.Unlock()
	}
	return n
}

// hold marks a connection at which nobody sits: it is there so that the platform
// sees an open request.
func (s *server) hold(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.holding = true
}

// gone ends another connection, whose client has died: nobody else would know
// before its stream is given up. id is the SSH session id, in hex.
func (s *server) gone(by *connection, id string) bool {
	var dead *connection
	s.mu.Lock()
	for c := range s.conns {
		if c != by && hex.EncodeToString(c.SessionID()) == strings.ToLower(id) {
			dead = c
		}
	}
	s.mu.Unlock()
	if dead == nil {
		return false
	}
	dead.log.Info("connection ended", "reason", "its client is gone")
	dead.abort()
	return true
}

// maxRenewal bounds what a lease can be renewed to, from now on.
const maxRenewal = 30 * 24 * time.Hour

// renew makes the lease end later. An earlier end is no change, and no reason
// to refuse: two clients may renew at the same time.
func (s *server) renew(expires uint64, now time.Time) bool {
	if expires > uint64(now.Add(maxRenewal).Unix()) {
		return false
	}
	end := time.Unix(int64(expires), 0) // which is no overflow
	s.mu.Lock()
	changed := !s.lease.IsZero() && end.After(s.lease)
	if changed {
		s.lease = end
	}
	s.mu.Unlock()
	if changed {
		s.log.Info("lease renewed", "expires", end.UTC().Format(time.RFC3339))
		s.notify()
	}
	return true
}

func (s *server) status() Status {
	st := Status{
		Sessions:       len(s.sessions()),
		Detached:       s.shells.detached(),
		Started:        s.started.Unix(),
		IdleTimeout:    s.settings.IdleTimeout,
		RequestTimeout: s.settings.RequestTimeout,
		Memory:         residentSize(),
		Version:        s.version,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Connections = len(s.conns)
	for c := range s.conns {
		if c.holding {
			st.Holders++
		}
	}
	if !s.lease.IsZero() {
		st.Expires = s.lease.Unix()
	}
	return st
}
