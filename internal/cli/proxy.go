package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// ProxyCommand is the first argument of a process that ssh starts, even when
// its program is a plugin.
const ProxyCommand = "proxy"

const proxyLong = `Carries the bytes of an SSH client, which it takes from standard input and
gives to standard output, into a twin: the ProxyCommand of OpenSSH and of all
that use it. The twin is made, or joined, and deleted when the last connection
into it has ended.

HOST is SERVICE, SERVICE.REGION or SERVICE.REGION.PROJECT. Under this name it
writes the instance's host key into the file known_hosts beside cloudssh's own
key, before the SSH client can ask for it.

Nobody has to type this: cloudssh config write makes ssh do it.`

const proxyExample = `  ssh -o ProxyCommand='cloudssh proxy %h' hello`

type proxyOptions struct {
	connect  connectOptions
	host     string
	prefix   string
	alias    string
	progress bool
}

// newProxyCmd is OpenSSH's ProxyCommand.
func newProxyCmd(a *app) *cobra.Command {
	o := &proxyOptions{}
	cmd := &cobra.Command{
		Use:               ProxyCommand + " HOST",
		Short:             "Carry any SSH client's connection into a twin, as its ProxyCommand",
		Long:              proxyLong,
		Example:           proxyExample,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one host, but got %s", cmd.CommandPath(), listed(args))
			}
			o.host = args[0]
			if err := o.connect.validate(); err != nil {
				return err
			}
			return asConnection(a.runProxy(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.prefix, "host-prefix", "", "what stands before the service in HOST")
	f.StringVar(&o.alias, "host-key-alias", "", "name in known_hosts (default: HOST)")
	f.BoolVar(&o.progress, "progress", false, "say on standard error what happens, and what the twin costs")
	o.connect.registerWire(cmd)
	a.registerFolder(cmd)
	o.connect.escape = "none"
	o.connect.registerTwin(cmd)
	return cmd
}

// registerFolder registers a flag of commands that others start, with an
// environment that need not be the person's.
func (a *app) registerFolder(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.folder, "config-dir", "", "folder of cloudssh's key and known_hosts (default: $CLOUDSSH_CONFIG_DIR, else the user's)")
}

func (a *app) runProxy(ctx context.Context, o *proxyOptions) error {
	if term.IsTerminal(int(a.in.Fd())) {
		return withHints(errors.New("this is for SSH clients: standard input is a terminal, and none of them"),
			"cloudssh config write # then: ssh cloudssh-SERVICE", fmt.Sprintf("ssh -o ProxyCommand='cloudssh proxy %%h' %s", o.host))
	}
	host, err := parseHost(o.host, o.prefix)
	if err != nil {
		return withHints(err, "ssh "+o.prefix+"SERVICE", "gcloud run services list")
	}
	if o.alias == "" {
		o.alias = strings.ToLower(o.host)
	}
	if !isHostName(o.alias) {
		return usagef("--host-key-alias %q is no name of a host", o.alias)
	}
	a.plainly(o.progress)
	o.connect.service = host.service
	a.global.region = cmp.Or(host.region, a.global.region)
	a.global.project = cmp.Or(host.project, a.global.project)
	ctx, left := context.WithCancelCause(ctx)
	defer left(nil)
	widen(a.in)
	widen(a.out)
	carried := newPipe(a.in, clientOutput{a.out}, greetingOf(a.version), func() { left(errClientLeft) })
	err = a.proxyInto(ctx, o, carried)
	if hungUp(ctx) {
		var signal *signalError
		err = without(err, func(e error) bool { return errors.Is(e, context.Canceled) || errors.As(e, &signal) })
	}
	return err
}

// hungUp reports whether the SSH client's end is ours, which is nothing to talk
// about: OpenSSH sends SIGHUP to its proxy when it ends, and a Ctrl-C that ended
// it has reached us, too.
func hungUp(ctx context.Context) bool {
	var signal *signalError
	cause := context.Cause(ctx)
	return errors.Is(cause, errClientLeft) || errors.As(cause, &signal) && signal.signal != syscall.SIGTERM
}

// clientOutput is our standard output, where the SSH client reads.
type clientOutput struct{ *os.File }

// Close lets a client know even when its end is that of a socket, which is our
// standard input, too.
func (o clientOutput) Close() error {
	endWriting(o.File)
	return o.File.Close()
}

// errClientLeft says that the SSH client ended before there was a twin.
var errClientLeft = fmt.Errorf("%w: the SSH client has ended", context.Canceled)

func (a *app) proxyInto(ctx context.Context, o *proxyOptions, carried *pipe) error {
	c, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	s, err := a.newConnection(c, &o.connect)
	if err != nil {
		return err
	}
	p := &proxy{connection: s, alias: o.alias, aloud: o.progress || a.global.verbosity != "warning", pipe: carried}
	return p.inTwin(ctx, p.run)
}

// plainly makes the user interface one that shares its terminal with another
// program: nothing moves and nobody is asked, and without progress only errors
// and warnings are shown.
func (a *app) plainly(progress bool) {
	o := ui.Options{Format: ui.Plain, NoColor: a.env("NO_COLOR") != ""}
	if !progress || a.global.quiet {
		o.Format = ui.Quiet
	}
	a.global.quiet = true
	a.ui = ui.New(nil, a.err, o)
}

// proxy is one connection of another program's SSH client to a twin.
type proxy struct {
	*connection
	alias string // in known_hosts
	aloud bool   // somebody is to see what happens
	pipe  *pipe
}

// run carries the client's bytes into a twin that is ready.
func (p *proxy) run(ctx context.Context, twin *provision.Twin) (deleteTwin bool, err error) {
	p.guard.tell(guardMessage{Twin: twin})
	p.lease = newLease(*twin, p.options.ttl)
	l, err := p.enter(ctx, twin)
	if err != nil {
		return !twin.Joined, err
	}
	if err = p.introduce(ctx, l); err == nil {
		err = p.carry(ctx, l, twin)
	}
	if errors.Is(err, provision.ErrTwinGone) {
		return false, err
	}
	switch {
	case hungUp(ctx):
		err = nil
	case ctx.Err() != nil: // a signal, which is told at the end
		err = ctx.Err()
	case err != nil:
		p.ui.Error(err) // before ssh says that the connection was closed
		err = &toldError{err}
	}
	p.pipe.close()
	if hungUp(ctx) || ctx.Err() == nil {
		p.letGo()
	}
	return p.leaveTwin(ctx, l, twin), err
}

// enter connects to the agent.
func (p *proxy) enter(ctx context.Context, twin *provision.Twin) (l *link, err error) {
	update, done := p.ui.Progress("connecting to " + twin.Name)
	defer func() { done(err) }()
	if l, err = p.open(ctx, twin, update); err != nil {
		return nil, err
	}
	p.guard.tell(guardMessage{Connection: l.conn.ID(), Instance: l.conn.Peer().Instance})
	p.noteWire(l)
	return l, nil
}

// introduce lets ssh know the agent's host key, before the agent says anything.
func (p *proxy) introduce(ctx context.Context, l *link) error {
	file, err := p.knownHostsPath()
	if err == nil {
		err = knowHost(ctx, file, p.alias, l.conn.Peer().HostKey)
	}
	if err != nil {
		return errors.Join(err, l.conn.Abort())
	}
	return nil
}

// carry carries the client's bytes until there are no more. ErrTwinGone says
// that the agent has taken none, and another twin may.
func (p *proxy) carry(ctx context.Context, l *link, twin *provision.Twin) error {
	following, unfollow := context.WithCancel(ctx)
	defer unfollow()
	go l.outage.tell(following, p.ui)
	defer p.keepLease(ctx, func(ctx context.Context, until time.Time) error { return p.renewAtAgent(ctx, twin, until) })()
	err := p.pipe.carry(ctx, l.conn)
	if !p.pipe.unheard() || ctx.Err() != nil {
		return err
	}
	if p.closedToUs(ctx, twin) {
		return fmt.Errorf("%w: it said nothing", provision.ErrTwinGone)
	}
	return cmp.Or(err, fmt.Errorf("the agent in %s ended the connection without a word", twin.Name))
}

// letGo lets go of standard error, which ssh has shared with us: whoever waits
// for its end waits for ssh's own, and not for the deletion of a twin. Should
// that fail, the guard goes on with it and keeps a log.
func (p *proxy) letGo() {
	if p.aloud || !p.guard.lives() {
		return
	}
	if err := toNowhere(p.err); err != nil {
		p.log.Debug("letting go of standard error", "error", err)
	}
}
