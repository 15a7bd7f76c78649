package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/cloudssh/cloudssh/internal/gcloud"
	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
)

const (
	// guardAnswer bounds one question of a guard to an agent, dialling included.
	guardAnswer = 30 * time.Second
	// guardLook is how often a guard that holds a twin asks whether it is still
	// wanted.
	guardLook = 5 * time.Second
	// guardPatience is how often an agent may fail to answer before the twin is
	// deleted without its word: longer than a fresh URL needs.
	guardPatience = 5
	// guardOvertime is for how long after the lease's end a guard goes on to
	// try: then the instance has ended by itself, and the next cloudssh deletes
	// what is left of the twin.
	guardOvertime = time.Hour
	// unbornTime is how long a creation that was on its way when its maker died
	// may take to show: the client's own limit for that call, and some.
	unbornTime = 35 * time.Second
)

// keeper sees to the twin of a session that has died.
type keeper struct {
	watched
	app    *app
	config gcloud.Config
	wire   transport.Wire
	stop   <-chan struct{} // closed when the guard is asked to end

	link     *connection // nil until there were credentials
	failures int         // how often the agent did not answer
	wanted   bool        // a detached session was there when we last asked
}

// takeOver does what the session would have done, and holds the twin while a
// detached session wants it.
func (k *keeper) takeOver(ctx context.Context) error {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := k.settle(ctx)
		if err == nil || k.emulatorGone(ctx) {
			return nil
		}
		if time.Now().After(k.twin.Expires.Add(guardOvertime)) {
			return err
		}
		k.app.log.Info("trying again", "in", wait, "error", err)
		select {
		case <-k.stop:
			return err
		case <-time.After(wait):
		}
	}
}

// settle is one attempt. Its errors may pass.
func (k *keeper) settle(ctx context.Context) error {
	if k.link == nil { // credentials can be missing for a while, as a network can
		if err := k.prepare(ctx); err != nil {
			return err
		}
	}
	if k.twin.URL == "" && !k.delete { // who came next may be in it, once it is ready
		ready, err := k.born(ctx)
		if err != nil {
			return err
		}
		if !ready {
			return k.removeUnborn(ctx)
		}
	}
	switch {
	case k.delete:
		return k.remove(ctx)
	case k.twin.Expired(time.Now()):
		return k.overdue(ctx)
	}
	client, err := k.dial(ctx)
	switch {
	case errors.Is(err, provision.ErrTwinGone):
		return nil
	case err != nil:
		return k.unanswered(ctx, err)
	}
	defer client.Close() //nolint:errcheck // it was only held
	return k.hold(ctx, client)
}

// prepare finds our credentials anew, as every cloudssh does at its start.
func (k *keeper) prepare(ctx context.Context) error {
	key, err := k.app.key()
	if err != nil {
		return err
	}
	c, err := k.app.connectTo(ctx, k.config)
	if err != nil {
		return err
	}
	k.link = &connection{app: k.app, cloud: c, options: &connectOptions{wire: wireFlag{k.wire}}, key: key}
	return nil
}

// dial connects to the agent and tells it who died.
func (k *keeper) dial(ctx context.Context) (*session.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, guardAnswer)
	defer cancel()
	conn, err := transport.Dial(ctx, k.link.endpoint(k.twin))
	if err != nil {
		return nil, err
	}
	if err := k.recognise(ctx, conn.Peer().Instance); err != nil {
		return nil, errors.Join(err, conn.Abort())
	}
	client, err := k.link.handshake(ctx, conn)
	if err != nil {
		return nil, err
	}
	if err := k.introduce(ctx, client); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// recognise makes sure that an instance is our twin's. Another than the
// session's may be that of a twin that was made since, at the same URL: an agent
// in which nobody is yet takes nobody any more once it is asked who stays.
func (k *keeper) recognise(ctx context.Context, instance string) error {
	if k.instance != instance {
		t, err := k.find(ctx) // ours was there when we dialled if it still is
		if err != nil {
			return err
		}
		if t == nil {
			k.app.log.Info("the twin is gone, and another has its URL")
			return provision.ErrTwinGone
		}
	}
	k.compare(instance)
	return nil
}

// compare notes that the session's instance is not there any more: whoever
// wants to come back to the session is to be told just that.
func (k *keeper) compare(instance string) {
	before := k.instance
	k.instance = instance
	if before == "" || before == instance || !k.wanted {
		return
	}
	k.wanted = false
	k.app.log.Info("the platform has replaced the instance, and the detached session is lost")
	if err := k.app.writeStopped(*k.twin); err != nil {
		k.app.log.Info("noting that the session is lost", "error", err)
	}
}

// introduce says whose guard we are. An instance that has replaced the one of
// the session knows nothing of it, which is no error.
func (k *keeper) introduce(ctx context.Context, client *session.Client) error {
	if err := client.Hold(ctx); err != nil {
		return err
	}
	if k.client == "" {
		return nil
	}
	if err := client.Gone(ctx, k.client); err != nil && ctx.Err() != nil {
		return err
	} else if err != nil {
		k.app.log.Info("the agent does not know the session's connection", "error", err)
	}
	return nil
}

// hold keeps a connection open, so that the platform leaves the instance its
// CPU, for as long as a detached session wants it.
func (k *keeper) hold(ctx context.Context, client *session.Client) error {
	for held := false; ; held = true {
		left, err := k.ask(ctx, client)
		switch {
		case err != nil:
			return k.unanswered(ctx, err)
		case left.Detached > 0:
			k.wanted = true
		case left.Connections > 0:
			k.app.log.Info("others are in the twin", "connections", left.Connections)
			return nil
		case k.keep:
			return nil
		default:
			return k.remove(ctx)
		}
		k.failures = 0
		if !held {
			k.app.log.Info("holding the twin", "detached", left.Detached)
		}
		select {
		case <-k.stop:
			k.app.log.Info("asked to end; the twin's instance ends at its idle timeout")
			return nil
		case <-client.Done():
			return errors.New("the connection to the agent has ended")
		case <-time.After(guardLook):
		}
	}
}

// ask asks who is in the twin. An agent that answers nobody takes nobody any
// more: the twin must go then.
func (k *keeper) ask(ctx context.Context, client *session.Client) (session.Remaining, error) {
	ctx, cancel := context.WithTimeout(ctx, guardAnswer)
	defer cancel()
	return client.Leave(ctx)
}

// unanswered decides when the agent did not answer.
func (k *keeper) unanswered(ctx context.Context, err error) error {
	var status *transport.StatusError
	switch {
	case k.link.gone(ctx, err, k.twin):
		return nil
	case errors.As(err, &status) && status.Code == http.StatusGone && !k.keep:
		return k.remove(ctx) // the last one has left
	}
	k.failures++
	if k.failures < guardPatience || k.twin.Joined || k.wanted || k.detached || k.keep {
		return err
	}
	// Nobody can say whether others are there: whoever made the twin deletes it.
	return k.remove(ctx)
}

// overdue deletes a twin whose lease has ended, unless another session has
// renewed it: then that one has a guard of its own.
func (k *keeper) overdue(ctx context.Context) error {
	there, err := k.there(ctx)
	switch {
	case err != nil:
		return err
	case there && !k.twin.Expired(time.Now()):
		return errors.New("the lease was renewed")
	}
	return k.remove(ctx)
}

func (k *keeper) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := k.link.cloud.backend.Delete(ctx, *k.twin); err != nil {
		return fmt.Errorf("deleting %s: %w", k.twin.Name, err)
	}
	k.app.log.Info("deleted", "twin", k.twin.Name)
	return nil
}

// removeUnborn deletes a twin that was being made: the platform may take note
// of it only after its maker's death.
func (k *keeper) removeUnborn(ctx context.Context) error {
	end := time.Now().Add(unbornTime)
	for wait := time.Second; ; wait = min(2*wait, 8*time.Second) {
		there, err := k.there(ctx)
		if err == nil {
			err = k.remove(ctx) // whether it was listed or not
		}
		if err != nil || there || time.Now().Add(wait).After(end) {
			return err
		}
		<-time.After(wait)
	}
}

// find is the twin as the platform lists it, nil when it does not.
func (k *keeper) find(ctx context.Context) (*provision.Twin, error) {
	ctx, cancel := context.WithTimeout(ctx, guardAnswer)
	defer cancel()
	return k.link.listed(ctx, k.twin)
}

// there reports whether the platform lists the twin, and notes until when.
func (k *keeper) there(ctx context.Context) (bool, error) {
	t, err := k.find(ctx)
	if err != nil || t == nil {
		return false, err
	}
	k.twin.Expires = t.Expires
	return true, nil
}

// born reports whether the twin is ready, and then takes note of its URL.
func (k *keeper) born(ctx context.Context) (bool, error) {
	t, err := k.find(ctx)
	if err != nil || t == nil || !t.Ready || t.URL == "" {
		return false, err
	}
	k.twin = t
	return true, nil
}

// emulatorGone reports whether the local Cloud Run has ended, and all twins
// with it.
func (k *keeper) emulatorGone(ctx context.Context) bool {
	host := k.app.env(emulatorHost) // without it there are no credentials, and no link either
	if host == "" {
		return false
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err == nil {
		_ = conn.Close() // it was only knocked at
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
