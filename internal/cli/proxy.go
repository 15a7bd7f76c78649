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
	"github.com/cloudssh/cloudssh/internal/transport"
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

const proxyExample = `  ssh -o ProxyCommand='cloudssh proxy %n' hello`

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
				return usagef("%s takes one host, but got %q", cmd.CommandPath(), args)
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
	f.Var(&o.connect.wire, "wire", "what to connect with")
	complete(cmd, "wire", transport.WireAuto.String(), transport.WireWebSocket.String(), transport.WireHTTP.String())
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
			"cloudssh config write # then: ssh cloudssh-SERVICE", fmt.Sprintf("ssh -o ProxyCommand='cloudssh proxy %%n' %s", o.host))
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
	if errors.Is(context.Cause(ctx), errClientLeft) {
		err = withoutCancellation(err)
	}
	return err
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
	return p.inTwin(ctx)
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

// inTwin makes or joins a twin, carries the client's bytes and takes the twin
// down again.
func (p *proxy) inTwin(ctx context.Context) error {
	defer p.sweep(ctx, p.cloud)()
	p.guard = p.startGuard(p.cloud, p.options.wire.Wire)
	err := provision.With(ctx, p.cloud.backend, p.request(), provision.Options{Progress: p.ui.Progress, Abandon: p.abandon}, p.run)
	p.guard.finish(err)
	p.noteCost(err)
	return err
}

// run carries the client's bytes into a twin that is ready.
func (p *proxy) run(ctx context.Context, twin *provision.Twin) (deleteTwin bool, err error) {
	p.guard.tell(guardMessage{Twin: twin})
	p.lease = newLease(*twin, p.options.ttl)
	l, err := p.enter(ctx, twin)
	if err != nil {
		return !twin.Joined && !p.options.keep, err
	}
	p.noteWire(l)
	following, unfollow := context.WithCancel(ctx)
	go l.outage.tell(following, p.ui)
	stop := p.keepLease(ctx, func(ctx context.Context, until time.Time) error { return p.renewAtAgent(ctx, twin, until) })
	err = p.pipe.carry(ctx, l.conn)
	stop()
	unfollow()
	if p.pipe.unheard() && ctx.Err() == nil && p.closedToUs(ctx, twin) {
		return false, fmt.Errorf("%w: it said nothing", provision.ErrTwinGone)
	}
	err = p.result(ctx, err)
	if err != nil && ctx.Err() == nil {
		p.ui.Error(err) // before ssh says that the connection was closed
		err = &toldError{err}
	}
	p.pipe.close()
	if ctx.Err() == nil || err == nil { // else there is still something to say
		p.letGo()
	}
	switch {
	case twin.Keep || p.options.keep:
		p.noteKept(twin)
	default:
		deleteTwin = p.leaveTwin(ctx, l, twin)
	}
	return deleteTwin, err
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

// enter connects to the agent, and lets ssh know its host key.
func (p *proxy) enter(ctx context.Context, twin *provision.Twin) (l *link, err error) {
	update, done := p.ui.Progress("connecting to " + twin.Name)
	defer func() { done(err) }()
	l, err = p.open(ctx, twin, update)
	if err != nil {
		return nil, err
	}
	peer := l.conn.Peer()
	p.guard.tell(guardMessage{Connection: l.conn.ID(), Instance: peer.Instance})
	file, err := p.knownHostsPath()
	if err == nil {
		err = knowHost(ctx, file, p.alias, peer.HostKey)
	}
	if err != nil {
		return nil, errors.Join(err, l.conn.Abort())
	}
	return l, nil
}

// result is what is worth telling of the end. ssh sends SIGHUP to its proxy
// when it ends, and a Ctrl-C that ended ssh has reached us, too.
func (p *proxy) result(ctx context.Context, err error) error {
	var signal *signalError
	switch {
	case errors.As(context.Cause(ctx), &signal) && signal.signal != syscall.SIGTERM:
		return nil
	case ctx.Err() != nil:
		return ctx.Err() // the signal is told
	}
	return err
}
