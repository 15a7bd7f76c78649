//go:build linux || darwin

package agent

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

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

// serve answers what the client asks of the connection, until that ends. Clients
// count on the order of what they say, as sshd has one loop for all: a channel
// opens when the requests before it are answered, so that a forwarding that is
// refused is known before the command has run, and no-more-sessions does not hit
// the session that OpenSSH has just asked for. The SSH library gives channels and
// requests in two queues. So those that wait in one are served before what comes
// out of the other.
func (c *connection) serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	defer func() { // after a panic there may be more to come
		go ssh.DiscardRequests(requests)
		for channel := range channels {
			reject(channel, &refusal{ssh.ConnectionFailed, "the connection has ended"})
		}
	}()
	defer c.survive()
	for opens, asks := channels, requests; opens != nil || asks != nil; {
		select {
		case req, ok := <-asks:
			if !ok {
				asks = nil
				continue
			}
			if req.Type == noMoreSessions {
				c.openWaiting(channels)
			}
			c.answer(req)
		case channel, ok := <-opens:
			if !ok {
				opens = nil
				continue
			}
			ending := c.answerWaiting(requests)
			c.open(channel)
			if ending != nil {
				c.openWaiting(channels)
				c.answer(ending)
			}
		}
	}
}

func (c *connection) openWaiting(channels <-chan ssh.NewChannel) {
	for range len(channels) {
		if channel, ok := <-channels; ok {
			c.open(channel)
		}
	}
}

// answerWaiting answers what waits, up to the request for no more sessions: that
// may be younger than a channel that is not open yet.
func (c *connection) answerWaiting(requests <-chan *ssh.Request) (ending *ssh.Request) {
	for range len(requests) {
		req, ok := <-requests
		switch {
		case !ok:
			return nil
		case req.Type == noMoreSessions:
			return req
		}
		c.answer(req)
	}
	return nil
}

// answer answers a global request. Not answering would stop the whole connection
// after sixteen of them.
func (c *connection) answer(req *ssh.Request) {
	ok, payload := c.globalRequest(req.Type, req.Payload)
	if req.WantReply {
		req.Reply(ok, payload) //nolint:errcheck // the connection reports its own end
	}
}

// globalRequest answers what guests may ask, too.
func (c *connection) globalRequest(kind string, payload []byte) (ok bool, answer []byte) {
	switch {
	case kind == "keepalive@openssh.com":
		return true, nil
	case kind == noMoreSessions:
		c.endSessions()
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
	return c.forwardRequest(kind, payload)
}

// forwardRequest has us listen for the client. Among what falls through is
// hostkeys-prove-00@openssh.com: we announce no other host keys, so that there is
// nothing to prove.
func (c *connection) forwardRequest(kind string, payload []byte) (ok bool, answer []byte) {
	switch kind {
	case "tcpip-forward":
		return c.listenTCP(payload)
	case "cancel-tcpip-forward":
		return c.cancelTCP(payload), nil
	case "streamlocal-forward@openssh.com":
		return c.listenSocket(payload)
	case "cancel-streamlocal-forward@openssh.com":
		return c.cancelSocket(payload), nil
	}
	return false, nil
}

// leavePatience is how long those who ask wait for what others are about to be.
const leavePatience = 2 * time.Second

// leave marks a connection as leaving and counts what stays: connections that
// neither leave nor only hold the instance, and sessions without a client. When
// there is nothing nobody may come any more: the caller will delete the twin,
// and who came now would lose it under his feet.
//
// Who is logging in would be refused then, too late to begin anew elsewhere. So
// they are waited for, and count while they are not done.
func (s *server) leave(c *connection) (connections, detached uint32) {
	s.awaitOpenings(leavePatience)
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
	connections = s.logIns()
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
// before its stream is given up. id is the SSH session id or the stream's, in hex.
// Afterwards it does not count any more.
func (s *server) gone(by *connection, id string) bool {
	is := func(name string) bool { return id != "" && strings.EqualFold(name, id) }
	var dead *connection
	var half net.Conn
	s.mu.Lock()
	for c := range s.conns {
		if c != by && (is(hex.EncodeToString(c.SessionID())) || is(streamID(c.stream))) {
			dead = c
		}
	}
	for _, o := range s.opening {
		if is(streamID(o.conn)) {
			half = o.conn
		}
	}
	if half != nil {
		s.opened(half)
	}
	s.mu.Unlock()
	if half != nil {
		abortStream(half)
		return true
	}
	if dead == nil {
		return false
	}
	dead.log.Info("connection ended", "reason", "its client is gone")
	s.unregister(dead) // at once, however long its end takes
	dead.abort()
	end := time.NewTimer(leavePatience)
	defer end.Stop()
	select {
	case <-dead.ctx.Done():
	case <-end.C:
	}
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
	s.mu.Lock()
	registered := maps.Clone(s.conns)
	s.mu.Unlock()
	st := Status{
		Sessions:       len(s.sessions()),
		Detached:       int(s.withoutClient(registered)), // as leave counts them
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
