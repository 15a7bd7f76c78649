package session

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

// Subsystem starts a subsystem of the agent, such as sftp, and returns its
// stream. Reading ends with io.EOF when the subsystem has ended, and with
// another error when the connection is lost. When ctx ends during Subsystem it
// gives up; later it does nothing.
func (c *Client) Subsystem(ctx context.Context, name string) (io.ReadWriteCloser, error) {
	ch, reqs, err := c.open(ctx, "session", nil)
	if err != nil {
		return nil, fmt.Errorf("opening a session for %s: %w", name, err)
	}
	f := newForwarded(c, ch, reqs, addr{"ssh", "cloudssh"}, addr{"ssh", name})
	go io.Copy(io.Discard, ch.Stderr()) //nolint:errcheck // unread, it would fill the channel's window
	asked := make(chan error, 1)
	go func() {
		ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{name}))
		if err == nil && !ok {
			err = errRefused
		}
		asked <- err
	}()
	select {
	case err = <-asked:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		go ch.Close() //nolint:errcheck // it may block on a dead connection
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return f, nil
}
