// Package session is the client's end of a session: SSH over any net.Conn,
// one command at a time, with all of its output and its true exit status.
package session

import (
	"context"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// ErrDetached is what Run returns when the person typed `~.`.
var ErrDetached = tty.ErrDisconnect

// Config says who we are and whom we expect.
type Config struct {
	Signer  ssh.Signer    // the user's key
	HostKey ssh.PublicKey // the only host key that is accepted
	User    string        // any name; the agent does not look at it
}

// Client is an SSH connection to an agent. Its methods may be called from
// several goroutines.
type Client struct{ conn ssh.Conn }

// New performs the SSH handshake on conn and owns conn from then on. It gives
// up, and closes conn, when ctx ends first.
func New(ctx context.Context, conn net.Conn, cfg Config) (*Client, error) { panic("not built yet") }

// Terminal describes the pseudo-terminal to ask for.
type Terminal struct {
	Term  string           // terminal type: the local TERM
	Size  tty.Size         // first size
	Modes map[uint8]uint32 // RFC 4254 section 8
	Sizes <-chan tty.Size  // later sizes; may be nil
}

// Command is what to run, and with which streams.
type Command struct {
	Shell string   // one string for the remote shell
	Argv  []string // an exact argument vector, no shell in between
	// Shell and Argv both empty ask for an interactive shell.

	Terminal *Terminal // nil: no pseudo-terminal
	Env      map[string]string
	Stdin    io.Reader         // nil: end of file at once
	Stdout   io.Writer         // nil: discarded
	Stderr   io.Writer         // nil: discarded
	Signals  <-chan ssh.Signal // forwarded to the remote command; may be nil
}

// Run runs a command and returns when it has ended and all of its output was
// delivered.
func (c *Client) Run(ctx context.Context, cmd Command) error { panic("not built yet") }

// Status is the agent's account of itself.
type Status struct {
	Connections, Sessions int
	Started, Expires      time.Time
	IdleTimeout           time.Duration
	Version               string
}

// Leave tells the agent that this connection is about to end and returns how
// many others remain. At zero the agent accepts no new ones.
func (c *Client) Leave(ctx context.Context) (remaining int, err error) { panic("not built yet") }

// Status asks the agent for its account of itself.
func (c *Client) Status(ctx context.Context) (Status, error) { panic("not built yet") }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { panic("not built yet") }

// Close ends the connection and all that runs on it.
func (c *Client) Close() error { panic("not built yet") }

// ExitError says that the command ran and ended with a status other than 0.
type ExitError struct {
	Code    int    // the exit status; 128+n when signal n ended the command
	Signal  string // name without SIG, empty when no signal ended it
	Message string // what the agent added, often empty
}

func (e *ExitError) Error() string { panic("not built yet") }

// NoStatusError says that the connection ended before a status arrived.
type NoStatusError struct {
	Err    error // why, may be nil
	MayRun bool  // whether the command may still be running
}

func (e *NoStatusError) Error() string { panic("not built yet") }
func (e *NoStatusError) Unwrap() error { return e.Err }

// HostKeyError says that the agent presented another key than the pinned one.
type HostKeyError struct{ Want, Got string } // SHA256 fingerprints

func (e *HostKeyError) Error() string { panic("not built yet") }
