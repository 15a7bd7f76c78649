package cli

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

func isInUse(err error) bool { return errors.Is(err, windows.WSAEADDRINUSE) }

// isNoFamily reports whether this machine does not have the address's family.
func isNoFamily(err error) bool {
	return errors.Is(err, windows.WSAEADDRNOTAVAIL) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}

// privately runs f. Files here have the access that their folder gives.
func privately(f func()) { f() }

// noAgentHint says how to get an SSH agent.
const noAgentHint = "Start-Service ssh-agent; ssh-add"

// agentPipe is where the agent of Windows's OpenSSH listens.
const agentPipe = `\\.\pipe\openssh-ssh-agent`

// dialAgent connects to the local SSH agent: a pipe, or the socket that
// SSH_AUTH_SOCK names.
func dialAgent(ctx context.Context, address string) (net.Conn, error) {
	if address == "" {
		address = agentPipe
	}
	if strings.HasPrefix(address, `\\.\pipe\`) {
		return winio.DialPipeContext(ctx, address)
	}
	return new(net.Dialer).DialContext(ctx, "unix", address)
}
