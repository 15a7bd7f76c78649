//go:build linux || darwin

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A connection is an authenticated SSH connection.
type connection struct {
	*ssh.ServerConn
	server *server
	log    *slog.Logger

	leaving bool // guarded by the server's mutex

	mu       sync.Mutex
	sessions map[*session]bool
}

// Status answers the global request status@cloudssh.
type Status struct {
	Connections int    `json:"connections"`  // authenticated, the caller's included
	Sessions    int    `json:"sessions"`     // of all connections
	Started     int64  `json:"started"`      // of the agent, unix seconds
	Expires     int64  `json:"expires"`      // end of the lease, unix seconds; 0: none
	IdleTimeout int64  `json:"idle_timeout"` // seconds; 0: none
	Version     string `json:"version"`
}

// handle serves one connection to its end.
func (s *server) handle(nc net.Conn, config *ssh.ServerConfig) {
	c, channels, requests, err := s.handshake(nc, config)
	if err != nil {
		// Cloud Run's IAM check comes before this: no port scan gets here, and
		// who fails to log in is worth a line.
		s.log.Warn("connection refused", "remote", nc.RemoteAddr().String(), "reason", err.Error())
		nc.Close() //nolint:errcheck // it is of no use
		return
	}
	defer c.Close() //nolint:errcheck // ended already, as a rule
	c.log.Info("connection opened")
	start := time.Now()
	var serving sync.WaitGroup
	serving.Go(func() { c.serveRequests(requests) })
	for channel := range channels {
		c.open(channel, &serving)
	}
	// It counts no longer, though its processes may take a while to end:
	// another client's leave@cloudssh must not wait for a dead connection.
	s.unregister(c)
	serving.Wait()
	c.log.Info("connection closed", "seconds", int(time.Since(start).Seconds()))
}

// handshake takes a connection through key exchange and authentication.
func (s *server) handshake(nc net.Conn, config *ssh.ServerConfig) (*connection, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	defer func() {
		s.mu.Lock()
		s.opening--
		s.mu.Unlock()
	}()
	if err := nc.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, nil, nil, fmt.Errorf("setting a deadline: %w", err)
	}
	conn, channels, requests, err := ssh.NewServerConn(nc, config)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("handshake: %w", err)
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return nil, nil, nil, fmt.Errorf("clearing the deadline: %w", err)
	}
	c := &connection{
		ServerConn: conn,
		server:     s,
		log: s.log.With("remote", nc.RemoteAddr().String(), "user", conn.User(),
			"key", conn.Permissions.Extensions["key"], "client", string(conn.ClientVersion())),
		sessions: make(map[*session]bool),
	}
	if !s.register(c) {
		return nil, nil, nil, errors.New("no more connections are taken")
	}
	return c, channels, requests, nil
}

// open serves a new channel, or rejects it.
func (c *connection) open(channel ssh.NewChannel, serving *sync.WaitGroup) {
	if kind := channel.ChannelType(); kind != "session" {
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
		ok, payload := c.globalRequest(req.Type)
		if req.WantReply {
			req.Reply(ok, payload) //nolint:errcheck // the connection reports its own end
		}
	}
}

func (c *connection) globalRequest(kind string) (ok bool, payload []byte) {
	switch kind {
	case "keepalive@openssh.com":
		return true, nil
	case "leave@cloudssh":
		return true, ssh.Marshal(struct{ Remaining uint32 }{c.server.leave(c)})
	case "status@cloudssh":
		text, err := json.Marshal(c.server.status())
		return err == nil, text
	}
	return false, nil
}

// leave marks a connection as leaving and counts those that are not. When
// there are none nobody may come any more: the caller will delete the twin, and
// who came now would lose it under his feet.
func (s *server) leave(c *connection) uint32 {
	s.mu.Lock()
	c.leaving = true
	remaining := uint32(0)
	for other := range s.conns {
		if !other.leaving {
			remaining++
		}
	}
	last := remaining == 0 && !s.refusing
	s.refusing = s.refusing || last
	s.mu.Unlock()
	if last {
		s.log.Info("last connection leaves")
		if s.lastLeft != nil {
			s.lastLeft()
		}
	}
	return remaining
}

func (s *server) status() Status {
	sessions := len(s.sessions())
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{
		Connections: len(s.conns),
		Sessions:    sessions,
		Started:     s.started.Unix(),
		Expires:     s.settings.Expires,
		IdleTimeout: s.settings.IdleTimeout,
		Version:     s.version,
	}
}
