package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
)

// forwardOptions are the flags that forward connections, named as ssh and its
// configuration name them.
type forwardOptions struct {
	local, remote, dynamic []string
	stdio                  string
	only                   bool // no session
	agent                  bool // the SSH agent, too

	all     []*forward // what the flags say, once validated
	stdioTo target
	doors   []*door // of those that listen here
	agentAt string  // where the SSH agent is
}

// register registers the flags for a session that exists already.
func (o *forwardOptions) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&o.local, "local-forward", "L", nil, "forward `[BIND:]PORT:HOST:PORT`, from a port here to a host and port as the twin sees them; either end may be a /SOCKET; repeatable")
	f.StringArrayVarP(&o.remote, "remote-forward", "R", nil, "forward `[BIND:]PORT:HOST:PORT`, from a port in the twin to a host and port as this machine sees them; without HOST:PORT the port is a SOCKS proxy")
	f.StringArrayVarP(&o.dynamic, "dynamic-forward", "D", nil, "forward `[BIND:]PORT`, a SOCKS proxy here whose connections start in the twin")
}

// registerAll registers the flags for a new connection.
func (o *forwardOptions) registerAll(cmd *cobra.Command) {
	o.register(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.stdio, "stdio-forward", "W", "", "connect standard input and output with `HOST:PORT` or /SOCKET as the twin sees it; no session")
	f.BoolVarP(&o.only, "forward-only", "N", false, "no session: forward until Ctrl-C")
	f.BoolVarP(&o.agent, "forward-agent", "A", false, "let the session use your SSH agent")
}

// validate reads the flags.
func (o *forwardOptions) validate() error {
	o.all = nil
	add := func(texts []string, parse func(string) (*forward, error)) error {
		for _, text := range texts {
			f, err := parse(text)
			if err != nil {
				return err
			}
			o.all = append(o.all, f)
		}
		return nil
	}
	if err := add(o.local, func(text string) (*forward, error) { return parseForward("-L", text) }); err != nil {
		return err
	}
	if err := add(o.remote, func(text string) (*forward, error) { return parseForward("-R", text) }); err != nil {
		return err
	}
	if err := add(o.dynamic, parseDynamic); err != nil {
		return err
	}
	if o.stdio != "" {
		to, err := parseStdio(o.stdio)
		if err != nil {
			return err
		}
		o.stdioTo = to
	}
	if o.agent && o.noSession() != "" {
		return usagef("--forward-agent is for a session, and %s has none", o.noSession())
	}
	if o.only && o.stdio != "" {
		return usagef("-N waits and -W ends with its connection: one of them")
	}
	return nil
}

// noSession is the flag that was given and has no session; empty if there is one.
func (o *forwardOptions) noSession() string {
	switch {
	case o.only:
		return "--forward-only"
	case o.stdio != "":
		return "--stdio-forward"
	}
	return ""
}

// open opens what is needed on this machine, before anything is made: listening
// ports, and the way to the SSH agent. close takes it away.
func (o *forwardOptions) open(ctx context.Context, env func(string) string) error {
	if o.agent {
		o.agentAt = env("SSH_AUTH_SOCK")
		conn, err := dialAgent(ctx, o.agentAt)
		if err != nil {
			return withHints(fmt.Errorf("--forward-agent: connecting to your SSH agent: %w", err), noAgentHint)
		}
		_ = conn.Close() // it was only a question
	}
	doors, err := openDoors(ctx, o.all)
	o.doors = doors
	return err
}

func (o *forwardOptions) close() { closeDoors(o.doors) }

// forwarder forwards connections on one link.
type forwarder struct {
	*connection
	link *link
	ctx  context.Context //nolint:containedctx // the life of the session, which no call has

	mu    sync.Mutex
	conns map[io.Closer]bool // of connections that are forwarded
	told  map[string]bool    // what the person was told already
	over  bool
}

// forward starts what the flags ask for. A forward that the agent refuses is an
// error, as with ssh's ExitOnForwardFailure: who asked for it on the command line
// has no use for a session without it. The returned function ends all.
func (s *connection) forward(ctx context.Context, l *link, twin *provision.Twin) (stop func(), err error) {
	o := &s.options.forward
	if s.guest && len(o.all) > 0 {
		return nil, fmt.Errorf("%s: %s is a colleague's, who shares a terminal in it and nothing else", o.all[0], twin.Name)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &forwarder{connection: s, link: l, ctx: ctx, conns: map[io.Closer]bool{}, told: map[string]bool{}}
	stop = func() {
		cancel()
		f.end()
	}
	for _, r := range o.all {
		if !r.remote {
			continue
		}
		if err := f.startRemote(r, twin); err != nil {
			stop()
			return nil, err
		}
	}
	for _, d := range o.doors {
		f.noteChosen(d.forward, twin)
		go f.serve(d.forward, d.next, f.dialTwin)
	}
	return stop, nil
}

// end closes all connections. Who waits for what they carried learns that they
// broke.
func (f *forwarder) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	for c := range f.conns {
		if _, local := c.(syscall.Conn); local {
			reset(c)
			continue
		}
		go reset(c) // it may wait for a network that is away
	}
}

// reset closes a connection so that the other side does not take it for
// complete.
func reset(c io.Closer) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be closed already
	}
	_ = c.Close()
}

// keep notes a connection for end; false when that has been.
func (f *forwarder) keep(c io.Closer) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.conns[c] = true
	}
	return !f.over
}

func (f *forwarder) drop(c io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// startRemote has the agent listen.
func (f *forwarder) startRemote(r *forward, twin *provision.Twin) error {
	network, address := "unix", r.listen.path
	if address == "" {
		host := r.listen.host
		if !r.listen.given {
			host = "localhost"
		}
		network, address = "tcp", net.JoinHostPort(host, fmt.Sprint(r.listen.port))
	}
	l, err := f.link.Listen(f.ctx, network, address)
	if err != nil {
		if f.ctx.Err() != nil {
			return context.Cause(f.ctx)
		}
		return fmt.Errorf("%s: %w", r, err)
	}
	r.bound = l.Addr().String()
	f.noteChosen(r, twin)
	go f.serve(r, func(context.Context) (net.Conn, error) { return l.Accept() }, f.dialHere)
	return nil
}

// noteChosen tells a port that was not ours to choose. -N tells it anyway.
func (f *forwarder) noteChosen(w *forward, twin *provision.Twin) {
	if w.listen.path == "" && w.listen.port == 0 && !f.options.forward.only {
		f.ui.Notef("forwarding %s", w.describe(twin.Name))
	}
}

// next returns the next connection.
func (d *door) next(ctx context.Context) (net.Conn, error) {
	select {
	case conn := <-d.came:
		return conn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// serve serves the connections that come in.
func (f *forwarder) serve(w *forward, next func(context.Context) (net.Conn, error), dial func(context.Context, target) (net.Conn, error)) {
	for {
		conn, err := next(f.ctx)
		if err != nil {
			return
		}
		go func() {
			if !f.keep(conn) {
				reset(conn)
				return
			}
			defer f.drop(conn)
			f.join(w, conn, dial)
		}()
	}
}

// socksPatience is how long a client may take for its request.
const socksPatience = 30 * time.Second

// join connects a connection that came in with where it leads.
func (f *forwarder) join(w *forward, conn net.Conn, dial func(context.Context, target) (net.Conn, error)) {
	to := w.to
	var asked *socksRequest
	if to.socks() {
		impatient := time.AfterFunc(socksPatience, func() { _ = conn.Close() })
		var err error
		asked, err = readSOCKS(conn)
		if !impatient.Stop() || err != nil {
			f.log.Info("serving SOCKS", "forward", w.String(), "error", err)
			_ = conn.Close() // it was answered, if it could be
			return
		}
		to = target{"tcp", asked.address}
	}
	far, err := dial(f.ctx, to)
	if err != nil {
		f.refuse(w, to, conn, asked, err)
		return
	}
	if asked != nil && asked.answer(conn, socksSucceeded) != nil {
		_ = far.Close() // nobody wants it any more
		reset(conn)
		return
	}
	if !f.keep(far) {
		reset(far)
		return
	}
	defer f.drop(far)
	session.Join(conn, far)
}

// dialTwin connects to what the twin sees.
func (f *forwarder) dialTwin(ctx context.Context, to target) (net.Conn, error) {
	return f.link.Dial(ctx, to.network, to.address)
}

// hereTimeout bounds how long connecting from this machine may take.
const hereTimeout = 30 * time.Second

// dialHere connects to what this machine sees.
func (f *forwarder) dialHere(ctx context.Context, to target) (net.Conn, error) {
	return (&net.Dialer{Timeout: hereTimeout}).DialContext(ctx, to.network, to.address)
}

// refuse tells the client, and the person, that there is no connection.
func (f *forwarder) refuse(w *forward, to target, conn net.Conn, asked *socksRequest, err error) {
	var refused *session.RefusedError
	prohibited := errors.As(err, &refused) && refused.Prohibited
	reason := reasonOf(err)
	if asked != nil {
		if err := asked.answer(conn, socksCode(reason, prohibited)); err != nil {
			f.log.Debug("answering a SOCKS request", "error", err)
		}
		_ = conn.Close() // it knows
	} else {
		reset(conn)
	}
	if f.ctx.Err() != nil || f.link.Err() != nil {
		return // that is told otherwise
	}
	where := "in the twin"
	if w.remote {
		where = "from here"
	}
	f.once(fmt.Sprintf("refused: connecting to %s %s: %s", to.address, where, reason))
}

// reasonOf is why a connection did not come about, without the addresses.
func reasonOf(err error) string {
	var refused *session.RefusedError
	if errors.As(err, &refused) {
		return refused.Error()
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "timed out"
	}
	return plainly(err).Error()
}

// maxTold bounds what a person is told: a browser behind SOCKS asks for anything.
const maxTold = 50

// once tells the person something that may happen often.
func (f *forwarder) once(text string) {
	f.mu.Lock()
	silent := f.told[text] || len(f.told) >= maxTold
	if !silent {
		f.told[text] = true
	}
	f.mu.Unlock()
	if !silent {
		f.notify(text)
	}
}

// forwardOnly is -N: it waits until the person or the connection ends it.
func (s *connection) forwardOnly(ctx context.Context, l *link, twin *provision.Twin) error {
	var leads []string
	for _, f := range s.options.forward.all {
		leads = append(leads, f.describe(twin.Name))
	}
	text := "forwarding " + strings.Join(leads, "; ")
	if len(leads) == 0 {
		text = "holding " + twin.Name
	}
	s.ui.Settle("")
	s.ui.Notef("%s. Ctrl-C ends it.", text)
	defer s.tellOutages(ctx, l)()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.Done():
		return l.Err()
	}
}

// tellOutages tells of outages in lines until the returned function is called.
func (s *connection) tellOutages(ctx context.Context, l *link) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		l.outage.tell(ctx, s.ui)
	}()
	return func() {
		cancel()
		<-told
	}
}
