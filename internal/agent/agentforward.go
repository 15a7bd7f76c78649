//go:build linux || darwin

package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// agentChannel is the channel that leads to the client's SSH agent, as OpenSSH
// names it in its PROTOCOL.agent and its sources.
const agentChannel = "auth-agent@openssh.com"

// forwardAgent gives the path of a socket that leads to the client's SSH agent,
// for SSH_AUTH_SOCK. All sessions of a connection share one, and it is gone when
// the connection is. Not ok: guests have none, nor do instances without a place
// to put it.
func (c *connection) forwardAgent() (socket string, ok bool) {
	if c.caller.guest {
		return "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.agentSocket != "" {
		return c.agentSocket, true
	}
	dir, l, err := listenAgent(agentDirs())
	if err != nil {
		c.log.Warn("no agent forwarding", "reason", err.Error())
		return "", false
	}
	c.agentSocket = l.Addr().String()
	c.spawn(func() {
		// The connection's end closes the listener, and that ends this.
		c.serveListener(l, agentChannel, func(net.Conn) []byte { return nil })
		if err := os.RemoveAll(dir); err != nil {
			c.log.Warn("an agent socket's directory stays behind", "reason", err.Error())
		}
	})
	return c.agentSocket, true
}

// agentDirs are the directories in which the app's user may be able to make one.
func agentDirs() []string { return []string{os.TempDir(), "/tmp", "/dev/shm", "/var/tmp", "/run"} }

// listenAgent listens on a socket in a new directory, which nobody but the user
// whom we run as, the app's own, can look into.
func listenAgent(parents []string) (dir string, l net.Listener, err error) {
	var all []error
	for _, parent := range parents {
		dir, err := os.MkdirTemp(parent, "cloudssh-*") // with mode 0700
		if err != nil {
			all = append(all, fmt.Errorf("making a directory for the socket: %w", err))
			continue
		}
		l, err := listenUnix(filepath.Join(dir, "agent"))
		if err == nil {
			return dir, l, nil
		}
		all = append(all, err, os.Remove(dir))
	}
	return "", nil, errors.Join(all...)
}
