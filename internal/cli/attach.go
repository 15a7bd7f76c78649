package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/ui"
)

const attachLong = `Comes back to a terminal session that goes on in a twin: one that was left with
~d, or one whose client died although it was started with --persist. The screen
is drawn as it was, what has scrolled off it included.

Without --session it is the only detached session there is; of several, one is
chosen from a list. A session that another terminal has is taken over when it is
named. With --read-only you only look, and whoever has the session keeps it.

A session that a colleague shares is joined with the command that --share
printed for them.`

const attachExample = `  cloudssh attach                      # the session that was left
  cloudssh attach hello --session 2
  cloudssh attach --project shop --region us-central1 --twin hello-ssh --session 1 --read-only`

type attachOptions struct {
	connect  connectOptions
	twin     string
	session  uint32
	readOnly bool
}

// newAttachCmd comes back to a session.
func newAttachCmd(a *app) *cobra.Command {
	o := &attachOptions{}
	cmd := &cobra.Command{
		Use:               "attach [SERVICE]",
		Short:             "Come back to a session, or join one that is shared",
		Long:              attachLong,
		Example:           attachExample,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			service, err := oneService(cmd, args)
			if err != nil {
				return err
			}
			o.connect.service = service
			if err := o.connect.validate(); err != nil {
				return err
			}
			return asConnection(a.runAttach(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.Uint32Var(&o.session, "session", 0, "number of the session (default: the only detached one)")
	f.BoolVar(&o.readOnly, "read-only", false, "look, do not type")
	f.StringVar(&o.twin, "twin", "", "name of the twin, which may be a colleague's")
	o.connect.registerTerminal(cmd)
	o.connect.forward.register(cmd)
	o.connect.ttl, o.connect.idle = provision.DefaultTTL, provision.DefaultIdleTimeout
	return cmd
}

// oneService is the service among a command's arguments, if there is one.
func oneService(cmd *cobra.Command, args []string) (string, error) {
	switch {
	case len(args) == 0:
		return "", nil
	case len(args) > 1:
		return "", usagef("%s takes one service, but got %q", cmd.CommandPath(), args)
	}
	t, err := provision.ParseTarget(args[0])
	return t.String(), err // one name for what has two
}

func (a *app) runAttach(ctx context.Context, o *attachOptions) error {
	defer o.connect.forward.close()
	if err := o.connect.forward.open(ctx, a.env); err != nil {
		return err
	}
	c, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	asking, err := a.newConnection(c, &o.connect)
	if err != nil {
		return err
	}
	found, err := a.find(ctx, asking, o)
	if err != nil {
		return err
	}
	if a.terminal == nil {
		return usagef("%s needs a terminal to be attached to, and this is none", found.title())
	}
	return a.attach(ctx, c, o, found)
}

// attach runs a session that exists. Its twin comes to its end as every twin
// does, unless it is another's.
func (a *app) attach(ctx context.Context, c *cloud, o *attachOptions, found place) error {
	defer a.sweep(ctx, c)()
	o.connect.attach = &session.Attach{Session: found.info.ID, ReadOnly: o.readOnly, Scrollback: true}
	o.connect.ttl = 0 // the twin's own
	o.connect.tty = true
	s, err := a.newConnection(c, &o.connect)
	if err != nil {
		return err
	}
	s.guest = !found.twin.Mine
	if !s.guest {
		s.guard = a.startGuard(c, o.connect.wire.Wire)
	}
	twin := found.twin
	twin.Joined = true
	b := &existing{Backend: c.backend, twin: twin}
	err = provision.With(ctx, b, provision.Request{}, provision.Options{Progress: a.ui.Progress, Abandon: a.abandon}, s.noting(s.run))
	s.guard.finish(err)
	s.noteCost(err)
	return err
}

// existing is a backend that makes nothing: its twin is there.
type existing struct {
	provision.Backend
	twin  provision.Twin
	given bool
}

func (e *existing) Create(context.Context, provision.Request, provision.Progress) (*provision.Twin, error) {
	if e.given {
		return nil, fmt.Errorf("%s is gone, and its sessions with it", e.twin.Name)
	}
	e.given = true
	t := e.twin
	return &t, nil
}

// place is where a session is.
type place struct {
	twin provision.Twin
	info session.Info
}

// title is the session in a few words.
func (p place) title() string {
	text := fmt.Sprintf("session %d in %s", p.info.ID, p.twin.Name)
	for _, what := range []string{p.info.Title, p.info.Command} {
		if what != "" {
			return text + " (" + what + ")"
		}
	}
	return text
}

func (p place) state(now time.Time) string {
	if p.info.Detached.IsZero() {
		return "attached"
	}
	return "detached " + short(now.Sub(p.info.Detached)) + " ago"
}

// find settles on the session that is meant.
func (a *app) find(ctx context.Context, s *connection, o *attachOptions) (place, error) {
	twins, err := a.twins(ctx, s.cloud)
	if err != nil {
		return place{}, err
	}
	service := o.connect.service
	twins = slices.DeleteFunc(twins, func(t provision.Twin) bool {
		if o.twin != "" {
			return t.Name != o.twin
		}
		return !t.Mine || t.Expired(time.Now()) || (service != "" && t.Source != service)
	})
	if len(twins) == 0 {
		return place{}, a.nothingToAttach(s.cloud, o)
	}
	if o.twin != "" && o.session != 0 && len(twins) == 1 { // all is said: the agent knows the rest
		return place{twin: twins[0], info: session.Info{ID: o.session}}, nil
	}
	places := a.tell(a.sessionsIn(ctx, s, twins))
	if o.session != 0 {
		places = slices.DeleteFunc(places, func(p place) bool { return p.info.ID != o.session })
	} else if detached := detachedOf(places); len(detached) > 0 {
		places = detached
	} else if len(places) > 0 {
		return place{}, withHints(fmt.Errorf("no session is detached; %s is in use", places[0].title()),
			fmt.Sprintf("cloudssh attach %s --session %d # takes it over", places[0].twin.Source, places[0].info.ID))
	}
	return a.choose(ctx, s.cloud, o, places)
}

func detachedOf(places []place) []place {
	return slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.info.Detached.IsZero() })
}

// choose asks which of several sessions is meant.
func (a *app) choose(ctx context.Context, c *cloud, o *attachOptions, places []place) (place, error) {
	switch {
	case len(places) == 0:
		return place{}, a.nothingToAttach(c, o)
	case len(places) == 1:
		return places[0], nil
	case !a.ui.Interactive() || a.global.quiet:
		var hints []string
		for _, p := range places {
			hints = append(hints, fmt.Sprintf("cloudssh attach --twin %s --session %d", p.twin.Name, p.info.ID))
		}
		return place{}, withHints(fmt.Errorf("%d sessions could be meant", len(places)), hints...)
	}
	var items []ui.Item[place]
	for _, p := range places {
		items = append(items, ui.Item[place]{Value: p, Title: p.title(), Detail: p.state(time.Now())})
	}
	return ui.Pick(ctx, a.ui, "Which session?", items)
}

func (a *app) nothingToAttach(c *cloud, o *attachOptions) error {
	a.noteStopped(o.connect.service)
	text := "there is no session to come back to"
	switch {
	case o.twin != "":
		text = "there is no twin " + o.twin + " with such a session"
	case o.session != 0:
		text = fmt.Sprintf("there is no session %d", o.session)
	}
	if o.connect.service != "" {
		text += " in a twin of " + o.connect.service
	}
	return withHints(fmt.Errorf("%s in project %s", text, c.config.Project), "cloudssh sessions --project "+c.config.Project)
}

// offer looks, before a new session is begun, for the one session of ours that
// waits in a twin of the service, and asks whether it is meant.
func (a *app) offer(ctx context.Context, s *connection) (found place, yes bool, err error) {
	o := s.options
	if a.terminal == nil || !o.command.interactive() || o.forward.noSession() != "" || o.noTTY || o.unguarded ||
		a.global.quiet || s.cloud.config.DisablePrompts || !a.ui.Interactive() {
		return place{}, false, nil
	}
	a.noteStopped(o.service)
	places, failed := a.sessionsIn(ctx, s, a.ownTwins(ctx, s.cloud, o.service))
	if failed != nil {
		a.log.Info("looking for detached sessions", "error", failed)
	}
	detached := detachedOf(places)
	if len(detached) != 1 {
		return place{}, false, nil
	}
	p := detached[0]
	yes, err = a.ui.Confirm(ctx, fmt.Sprintf("%s was %s. Join it?", p.title(), p.state(time.Now())))
	return p, yes, err
}

// ownTwins are our live twins of a service, of all when it is empty. Nobody
// asked for them, so nobody is told why they cannot be listed.
func (a *app) ownTwins(ctx context.Context, c *cloud, service string) []provision.Twin {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var own []provision.Twin
	for t, err := range c.backend.Twins(ctx) {
		if err != nil {
			a.log.Debug("looking for twins", "error", err)
			continue
		}
		if t.Mine && !t.Expired(time.Now()) && (service == "" || t.Source == service) {
			own = append(own, t)
		}
	}
	return own
}

// asConnection marks an error that is neither wrong usage nor success.
func asConnection(err error) error {
	var usage *usageError
	if err == nil || errors.As(err, &usage) {
		return err
	}
	return &connectionError{err}
}
