package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/provision/cloudrun"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// maxIdle is the longest time that a twin may be kept without a session.
const maxIdle = 24 * time.Hour

// connectOptions are the flags of a session.
type connectOptions struct {
	service string // as the user names it: also job:NAME and worker-pool:NAME
	command remoteCommand
	exec    string

	source    sourceOptions
	override  overrideOptions
	overrides provision.Overrides // what override says, once it is validated

	keep      bool
	ttl, idle time.Duration
	reason    string
	shell     string

	tty, noTTY bool
	escape     string
	wire       wireFlag
	forward    forwardOptions
	persist    bool
	share      shareFlag

	minInstances int
	attach       *session.Attach // a session that exists
	unguarded    bool            // the platform ends with us
}

// newConnectCmd is the main job: a session in a twin.
func newConnectCmd(a *app, use string) *cobra.Command {
	o := &connectOptions{}
	cmd := &cobra.Command{
		Use:               use + " [--exec COMMAND | -- ARGV...]",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			before, command, err := splitArgs(cmd, args, o.exec)
			if err != nil {
				return err
			}
			if len(before) > 1 {
				return errTooMany(cmd, before)
			}
			if len(before) == 1 {
				o.service = before[0]
			}
			o.command = command
			if o.minInstances > 0 && !cmd.Flags().Changed("idle-timeout") {
				o.idle = min(o.ttl, maxIdle) // it is kept so that it can wait
			}
			if err := o.validate(); err != nil {
				return err
			}
			return asConnection(a.connect(cmd.Context(), o))
		},
	}
	o.registerSession(cmd)
	o.forward.registerAll(cmd)
	o.registerTwin(cmd)
	return cmd
}

func (o *connectOptions) registerSession(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.exec, "exec", "", "run this command with the twin's shell and exit with its status")
	f.BoolVarP(&o.tty, "tty", "t", false, "ask for a pseudo-terminal, even for a command")
	f.BoolVarP(&o.noTTY, "no-tty", "T", false, "ask for no pseudo-terminal")
	f.Var(&o.share, "share", "let colleagues with access to the project join the terminal, to look or (write) to type; prints the command for them")
	f.Lookup("share").NoOptDefVal = session.ShareRead.String()
	f.StringVar(&o.shell, "shell", "auto", "PATH of the shell in the twin; builtin is cloudssh's own, with tools of its own; auto takes that one where the image has none")
	o.registerTerminal(cmd)
	complete(cmd, "share", session.ShareRead.String(), session.ShareWrite.String())
}

// registerTerminal registers the flags of every session with a terminal, also
// of one that exists.
func (o *connectOptions) registerTerminal(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&o.escape, "escape-char", "e", "~", "escape character of the terminal, or none")
	f.BoolVar(&o.persist, "persist", false, "keep the terminal session for the idle timeout when this client dies; cloudssh attach comes back to it")
	o.registerWire(cmd)
}

// registerWire registers the flag of everything that connects to an agent.
func (o *connectOptions) registerWire(cmd *cobra.Command) {
	cmd.Flags().Var(&o.wire, "wire", "what to connect with")
	complete(cmd, "wire", transport.WireAuto.String(), transport.WireWebSocket.String(), transport.WireHTTP.String())
}

// complete offers the values of a flag to shells.
func complete(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a misspelt flag name above
	}
}

// registerTwin registers the flags of everything that makes a twin.
func (o *connectOptions) registerTwin(cmd *cobra.Command) {
	o.source.register(cmd)
	o.registerCopy(cmd)
}

// registerCopy registers those of them that do not say what is copied.
func (o *connectOptions) registerCopy(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.keep, "keep", false, "leave the twin at the end, until its lease expires")
	f.DurationVar(&o.ttl, "ttl", provision.DefaultTTL, "lease of the twin")
	f.DurationVar(&o.idle, "idle-timeout", provision.DefaultIdleTimeout, "the twin's instance ends after this time without a session")
	f.IntVar(&o.minInstances, "min-instances", 0, "1 keeps the twin's instance running without a connection, at a price that is shown first; --idle-timeout then is the lease")
	f.StringVar(&o.reason, "reason", "", "why; recorded on the twin")
	o.override.register(cmd)
}

// validate refuses what can be refused before anything is created.
func (o *connectOptions) validate() error {
	if o.tty && o.noTTY {
		return usagef("--tty and --no-tty exclude each other")
	}
	if o.ttl < time.Minute || o.ttl > 30*24*time.Hour {
		return usagef("--ttl must be between 1m and 720h, not %s", o.ttl)
	}
	if o.idle <= 0 || o.idle > maxIdle {
		return usagef("--idle-timeout must be between 1s and 24h, not %s", o.idle)
	}
	if o.minInstances < 0 || o.minInstances > 1 {
		return usagef("--min-instances is 0 or 1, not %d", o.minInstances)
	}
	if o.terminalOnly() != "" && (o.noTTY || !o.command.interactive() && !o.tty) {
		return usagef("%s is for a session with a terminal", o.terminalOnly())
	}
	if o.escape != "none" && len(o.escape) != 1 {
		return usagef("--escape-char is one character or none, not %q", o.escape)
	}
	if flag := o.forward.noSession(); flag != "" && (!o.command.interactive() || o.tty || o.terminalOnly() != "") {
		return usagef("%s has no session: no command, no --tty, no --persist and no --share go with it", flag)
	}
	if s := o.shell; s != "" && s != "auto" && s != "builtin" && !strings.HasPrefix(s, "/") {
		return usagef("--shell is auto, builtin or a path that begins with /, not %q", s)
	}
	if err := o.source.validate(); err != nil {
		return err
	}
	var err error
	if o.overrides, err = o.override.overrides(); err != nil {
		return err
	}
	if err := cloudrun.Validate(o.overrides); err != nil {
		return &usageError{err}
	}
	return o.forward.validate()
}

// terminalOnly is a flag that was given and needs a terminal.
func (o *connectOptions) terminalOnly() string {
	switch {
	case o.persist:
		return "--persist"
	case o.share.mode != session.ShareOff:
		return "--share"
	}
	return ""
}

// connect makes or joins a twin, runs the session in it and takes the twin
// down again.
func (a *app) connect(ctx context.Context, o *connectOptions) error {
	defer o.forward.close()
	if err := o.forward.open(ctx, a.env); err != nil {
		return err
	}
	c, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	if o.service == "" {
		if err := a.pickService(ctx, c, o); err != nil {
			return err
		}
	}
	s, err := a.newConnection(c, o)
	if err != nil {
		return err
	}
	if flag := o.terminalOnly(); flag != "" && !s.wantsTerminal() {
		return usagef("%s is for a session with a terminal, and this is none", flag)
	}
	found, yes, err := a.offer(ctx, s)
	if err != nil {
		return err
	}
	if yes {
		return a.attach(ctx, c, &attachOptions{connect: *o}, found)
	}
	return s.inTwin(ctx, s.run)
}

// newConnection is one that runs the session which o asks for. Who wants other
// work done in the twin changes its work.
func (a *app) newConnection(c *cloud, o *connectOptions) (*connection, error) {
	key, err := a.key()
	if err != nil {
		return nil, err
	}
	s := &connection{app: a, cloud: c, options: o, key: key}
	if o.service != "" {
		if s.target, err = o.source.target(o.service); err != nil {
			return nil, err
		}
		o.service = s.target.String()
	}
	s.work = s.session
	return s, nil
}

// inTwin makes or joins a twin, runs run in it as provision.With does, and takes
// it down again.
func (s *connection) inTwin(ctx context.Context, run func(context.Context, *provision.Twin) (bool, error)) error {
	defer s.sweep(ctx, s.cloud)()
	if !s.options.unguarded {
		s.guard = s.startGuard(s.cloud, s.options.wire.Wire)
	}
	err := provision.With(ctx, s.cloud.backend, s.request(), provision.Options{Progress: s.ui.Progress, Abandon: s.abandon}, s.noting(run))
	s.guard.finish(err)
	s.noteCost(err)
	return err
}

// pickService asks which service.
func (a *app) pickService(ctx context.Context, c *cloud, o *connectOptions) error {
	if !a.ui.Interactive() {
		return withHints(usagef("no service named, and no terminal to pick one from"), "cloudssh SERVICE", "cloudssh demo")
	}
	var (
		items  []ui.Item[provision.Service]
		failed error
	)
	for s, err := range c.backend.Services(ctx) {
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		detail := s.Region
		if !s.Ready {
			detail += ", not ready"
		}
		items = append(items, ui.Item[provision.Service]{Value: s, Title: s.Name, Detail: detail})
	}
	if failed != nil && len(items) == 0 {
		return failed
	}
	if failed != nil {
		a.ui.Warnf("the list is incomplete: %v", failed)
	}
	if len(items) == 0 {
		return withHints(fmt.Errorf("project %s has no Cloud Run services", c.config.Project), "gcloud run services list --project "+c.config.Project, "cloudssh demo")
	}
	s, err := ui.Pick(ctx, a.ui, "Which service?", items)
	if err != nil {
		return err
	}
	o.service = s.Name
	return c.useRegion(ctx, a, s.Region)
}
