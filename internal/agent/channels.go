//go:build linux || darwin

package agent

import (
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxSessions is per connection.
const maxSessions = 64

// A refusal says no to a channel.
type refusal struct {
	reason ssh.RejectionReason
	text   string
}

func (r *refusal) Error() string { return r.text }

// reject tells the client why it gets no channel.
func reject(channel ssh.NewChannel, why *refusal) {
	channel.Reject(why.reason, why.text) //nolint:errcheck // the connection reports its own end
}

// open serves a new channel, or rejects it.
func (c *connection) open(channel ssh.NewChannel) {
	kind := channel.ChannelType()
	if kind == "session" {
		c.openSession(channel)
		return
	}
	to, why := parseDirect(kind, channel.ExtraData())
	switch {
	case why != nil:
		reject(channel, why)
	case c.caller.guest:
		reject(channel, &refusal{ssh.Prohibited, "guests cannot forward connections"})
	case !c.takeForward():
		reject(channel, tooManyForwards())
	default:
		c.spawn(func() { c.forward(channel, to) }) // not to keep other channels waiting
	}
}

// unsupported refuses the kinds of channels there are no others for.
func unsupported(kind string) *refusal {
	switch {
	case kind == "tun@openssh.com":
		return &refusal{ssh.Prohibited, "tunnels of network devices are not supported: an instance has no rights to make one"}
	case kind == "x11" || strings.HasPrefix(kind, "forwarded-") || kind == agentChannel:
		return &refusal{ssh.Prohibited, fmt.Sprintf("channels of type %q are opened by servers and not supported from clients", kind)}
	}
	return &refusal{ssh.UnknownChannelType, fmt.Sprintf("channels of type %q are not supported", kind)}
}

func (c *connection) openSession(channel ssh.NewChannel) {
	s := newSession(c)
	if why := c.add(s); why != nil {
		reject(channel, why)
		if why.reason == ssh.Prohibited {
			// OpenSSH's PROTOCOL wants the connection aborted: the client had said
			// that it would never ask, so somebody else may have got hold of it.
			c.log.Warn("connection ended", "reason", "it asked for a session after "+noMoreSessions)
			c.Close() //nolint:errcheck // it is being given up
		}
		return
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		c.remove(s)
		return
	}
	s.channel = ch
	c.spawn(func() {
		defer c.remove(s)
		s.serve(requests)
	})
}

func (c *connection) add(s *session) *refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.noSessions:
		return &refusal{ssh.Prohibited, "this connection asked for no more sessions"}
	case len(c.sessions) >= maxSessions:
		return &refusal{ssh.ResourceShortage, fmt.Sprintf("more than %d sessions on one connection", maxSessions)}
	}
	c.sessions[s] = true
	return nil
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

// noMoreSessions is the global request of a client that has all the sessions it
// will ever want (OpenSSH's PROTOCOL, 2.2).
const noMoreSessions = "no-more-sessions@openssh.com"

func (c *connection) endSessions() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noSessions = true
}
