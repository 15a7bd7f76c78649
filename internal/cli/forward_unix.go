//go:build unix

package cli

import (
	"context"
	"errors"
	"net"
	"syscall"
)

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// isNoFamily reports whether this machine does not have the address's family.
func isNoFamily(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// privately runs f so that files it makes are their owner's alone. A socket has
// no mode to be made with, and one that gets it later was open for a moment.
func privately(f func()) {
	before := syscall.Umask(0o177)
	defer syscall.Umask(before)
	f()
}

// noAgentHint says how to get an SSH agent.
const noAgentHint = "eval $(ssh-agent) && ssh-add"

// dialAgent connects to the local SSH agent, which is at SSH_AUTH_SOCK.
func dialAgent(ctx context.Context, address string) (net.Conn, error) {
	if address == "" {
		return nil, errors.New("SSH_AUTH_SOCK is not set")
	}
	return new(net.Dialer).DialContext(ctx, "unix", address)
}
