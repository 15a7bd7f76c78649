package cli

import (
	"context"
	"errors"
	"time"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
)

// control is a connection of our own to the agent, for a question. It does not
// count as one that is in the twin.
func (p *proxy) control(ctx context.Context, twin *provision.Twin) (*session.Client, error) {
	conn, err := transport.Dial(ctx, p.endpoint(twin))
	if err != nil {
		return nil, err
	}
	client, err := p.handshake(ctx, conn)
	if err != nil {
		return nil, err
	}
	if err := client.Hold(ctx); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// renewAtAgent is the agent's part of a renewal.
func (p *proxy) renewAtAgent(ctx context.Context, twin *provision.Twin, until time.Time) error {
	client, err := p.control(ctx, twin)
	if err != nil {
		return err
	}
	return errors.Join(client.Renew(ctx, until), client.Close())
}

// leaveTwin reports whether we were the last in a twin. When nobody answers,
// our guard goes on to ask: nobody waits for it.
func (p *proxy) leaveTwin(ctx context.Context, l *link, twin *provision.Twin) bool {
	if twin.Keep || p.options.keep {
		p.noteKept(twin)
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	client, err := p.control(ctx, twin)
	if err != nil {
		p.log.Info("asking the agent who else is there", "error", err)
		return isGone(err) || p.leaveToGuard(twin)
	}
	defer client.Close() //nolint:errcheck // it has only asked
	if err := client.Gone(ctx, l.conn.ID()); err != nil {
		p.log.Debug("the agent has forgotten our connection already", "error", err)
	}
	left, err := client.Leave(ctx)
	switch {
	case err != nil:
		p.log.Info("leaving", "error", err)
		return p.leaveToGuard(twin)
	case left.Detached > 0:
		p.ui.Notef("%s stays: %s in it", twin.Name, count(left.Detached, "detached session"))
		if status, err := client.Status(ctx); err != nil || status.Holders <= 1 { // we are one
			p.guard.handOver()
		}
	case left.Connections > 0:
		p.ui.Notef("%s stays: %s into it", twin.Name, count(left.Connections, "more connection"))
	}
	return left.None()
}
