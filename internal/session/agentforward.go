package session

import (
	"net"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"
)

// maxAgents is how many connections to the local SSH agent there may be at a
// time; programs that use one ask it a question or two.
const maxAgents = 64

// agents are the ways to the local SSH agent that running commands have opened.
// A channel does not say for which command it is: they all lead to the user's
// agent.
type agents struct {
	mu    sync.Mutex
	dials []*func() (net.Conn, error)
	open  int
}

// allow opens a way until the returned function is called.
func (a *agents) allow(dial func() (net.Conn, error)) (end func()) {
	if dial == nil {
		return func() {}
	}
	entry := &dial
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dials = append(a.dials, entry)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.dials = slices.DeleteFunc(a.dials, func(other *func() (net.Conn, error)) bool { return other == entry })
	}
}

// take returns the way to the agent for one more connection.
func (a *agents) take() (dial func() (net.Conn, error), full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.dials) == 0 || a.open == maxAgents {
		return nil, len(a.dials) > 0
	}
	a.open++
	return *a.dials[len(a.dials)-1], false
}

func (a *agents) done() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
}

// give connects a channel to the local agent.
func (a *agents) give(c *Client, nc ssh.NewChannel) {
	dial, full := a.take()
	switch {
	case full:
		_ = nc.Reject(ssh.ResourceShortage, "too many connections to the SSH agent") // fails with the connection
	case dial == nil:
		_ = nc.Reject(ssh.Prohibited, "the SSH agent is not forwarded") // as above
	default:
		go func() {
			defer a.done()
			c.serveAgent(nc, dial)
		}()
	}
}

func (c *Client) serveAgent(nc ssh.NewChannel, dial func() (net.Conn, error)) {
	conn, err := dial()
	if err != nil {
		// The reason names files of this machine, which nobody there must know.
		_ = nc.Reject(ssh.ConnectionFailed, "the SSH agent does not answer") // fails with the connection
		return
	}
	ch, reqs, err := nc.Accept()
	if err != nil {
		_ = conn.Close()
		return
	}
	Join(newForwarded(c, ch, reqs, addr{"ssh", "cloudssh"}, addr{"ssh", "agent"}), conn)
}
