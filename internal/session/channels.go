package session

import (
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"
)

// The channels that the agent opens: RFC 4254 section 7.2, and OpenSSH's
// PROTOCOL, section 2.4.
type (
	forwardedTCP struct {
		Host       string // where the agent listens, as it was asked to
		Port       uint32
		Originator string
		OriginPort uint32
	}
	forwardedUnix struct {
		Path     string
		Reserved string
	}
)

// accept gives the channels that the agent opens to whom they are for, and
// refuses what nobody has asked for. It must not wait: x/crypto stops the whole
// connection once sixteen channels wait.
func (c *Client) accept(chans <-chan ssh.NewChannel) {
	for nc := range chans {
		switch nc.ChannelType() {
		case "forwarded-tcpip":
			var m forwardedTCP
			if ssh.Unmarshal(nc.ExtraData(), &m) != nil || m.Port == 0 {
				_ = nc.Reject(ssh.ConnectionFailed, "malformed request") // fails with the connection
				continue
			}
			c.listeners.give(nc, "tcp", m.Host, m.Port)
		case "forwarded-streamlocal@openssh.com":
			var m forwardedUnix
			if ssh.Unmarshal(nc.ExtraData(), &m) != nil {
				_ = nc.Reject(ssh.ConnectionFailed, "malformed request") // as above
				continue
			}
			c.listeners.give(nc, "unix", m.Path, 0)
		case "auth-agent@openssh.com":
			c.agents.give(c, nc)
		default:
			_ = nc.Reject(ssh.UnknownChannelType, "not offered by cloudssh") // as above
		}
	}
}

// listeners are those of one connection.
type listeners struct {
	mu  sync.Mutex
	all []*listener
	// early are connections to a port that may be the one which the agent is
	// about to tell that it has chosen.
	early []earlyChannel
}

type earlyChannel struct {
	ssh.NewChannel
	host string
	port uint32
}

// add registers a listener, before the agent is asked: a connection may come
// before its answer has been read.
func (ls *listeners) add(l *listener) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	open := l.addr.network == "tcp" && l.port == 0
	if !open && slices.ContainsFunc(ls.all, func(other *listener) bool {
		return other.addr.network == l.addr.network && other.host == l.host && other.port == l.port
	}) {
		return false
	}
	ls.all = append(ls.all, l)
	return true
}

func (ls *listeners) remove(l *listener) {
	ls.mu.Lock()
	ls.all = slices.DeleteFunc(ls.all, func(other *listener) bool { return other == l })
	ls.mu.Unlock()
	ls.sort()
}

// settle is called when the port of a listener is known.
func (ls *listeners) settle(l *listener, port uint32) {
	ls.mu.Lock()
	l.port = port
	ls.mu.Unlock()
	ls.sort()
}

// sort gives the early ones to whom they are for.
func (ls *listeners) sort() {
	ls.mu.Lock()
	early := ls.early
	ls.early = nil
	ls.mu.Unlock()
	for _, e := range early {
		ls.give(e.NewChannel, "tcp", e.host, e.port)
	}
}

// give hands a connection to its listener, or refuses it.
func (ls *listeners) give(nc ssh.NewChannel, network, host string, port uint32) {
	// The refusal is sent without the lock: it may have to wait.
	if reason, text := ls.place(nc, network, host, port); text != "" {
		_ = nc.Reject(reason, text) // fails with the connection
	}
}

func (ls *listeners) place(nc ssh.NewChannel, network, host string, port uint32) (refused ssh.RejectionReason, text string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l, undecided := ls.find(network, host, port)
	switch {
	case l != nil:
		select {
		case l.waiting <- nc:
			return 0, ""
		default:
			return ssh.ResourceShortage, "too many connections wait to be accepted"
		}
	case undecided && len(ls.early) < maxWaiting:
		ls.early = append(ls.early, earlyChannel{nc, host, port})
		return 0, ""
	}
	return ssh.Prohibited, "nobody listens here"
}

// find returns the listener for an address. Servers name the address as it was
// asked for; one that names another is understood while only one can be meant.
func (ls *listeners) find(network, host string, port uint32) (l *listener, undecided bool) {
	var same []*listener
	for _, l := range ls.all {
		switch {
		case l.addr.network != network:
		case l.port == port && l.host == host:
			return l, false
		case l.port == port && network == "tcp":
			same = append(same, l)
		case l.port == 0:
			undecided = true
		}
	}
	if len(same) == 1 && !undecided {
		return same[0], false
	}
	return nil, undecided
}
