package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
	"github.com/cloudssh/cloudssh/internal/tty"
)

// How long a twin that is Ready may refuse us: a fresh run.app URL answers
// 403, 404 or 503 until it is known everywhere (a local emulator does not).
const (
	dialPatience         = 45 * time.Second
	emulatorDialPatience = 3 * time.Second
	leaveTimeout         = 5 * time.Second
)

// connection is one session in a twin.
type connection struct {
	*app
	cloud   *cloud
	options *connectOptions
	key     ssh.Signer
	guard   *guard
}

func (s *connection) request() provision.Request {
	o := s.options
	return provision.Request{
		Service:        o.service,
		Revision:       o.revision,
		Owner:          provision.Owner{Account: s.cloud.creds.Account, PublicKey: authorizedKey(s.key)},
		Keep:           o.keep,
		TTL:            o.ttl,
		IdleTimeout:    o.idle,
		Reason:         o.reason,
		CPU:            o.cpu,
		Memory:         o.memory,
		ServiceAccount: o.serviceAccount,
		SetEnv:         o.env,
		Version:        s.version,
		Made:           func(t provision.Twin) { s.guard.tell(guardMessage{Twin: &t, Keep: o.keep || t.Keep}) },
	}
}

// run is the session in a twin that is ready. Whether the twin is to be
// deleted is the agent's to say: other sessions keep it.
func (s *connection) run(ctx context.Context, twin *provision.Twin) (deleteTwin bool, err error) {
	s.guard.tell(guardMessage{Twin: twin})
	client, err := s.dial(ctx, twin)
	if err != nil {
		if s.options.keep {
			s.noteKept(twin)
		}
		return !twin.Joined, err
	}
	defer client.Close() //nolint:errcheck // the session is over, and its result known
	err = s.session(ctx, client, twin)
	if s.shutOut(ctx, err, twin) {
		return false, fmt.Errorf("%w: %w", provision.ErrTwinGone, err)
	}
	if twin.Keep || s.options.keep {
		s.noteKept(twin)
		return false, err
	}
	return s.leave(ctx, client, twin), err
}

// leaveAgain asks over a connection of its own, when ours has broken.
func (s *connection) leaveAgain(ctx context.Context, twin *provision.Twin) (others int, err error) {
	conn, err := transport.Dial(ctx, s.endpoint(twin))
	if err != nil {
		return 0, err
	}
	client, err := s.handshake(ctx, conn)
	if err != nil {
		return 0, err
	}
	defer client.Close() //nolint:errcheck // it has only asked
	remaining, err := client.Leave(ctx)
	return remaining.Connections, err
}

func (s *connection) noteKept(twin *provision.Twin) {
	s.ui.Notef("%s stays until %s; delete it with: %s", twin.Name, twin.Expires.Format(time.DateTime), twin.Commands()[0])
}

// shutOut reports whether our command did not start because the last of the
// others left while we came in: the twin is about to go.
func (s *connection) shutOut(ctx context.Context, err error, twin *provision.Twin) bool {
	var none *session.NoStatusError
	if ctx.Err() != nil || !errors.As(err, &none) || none.Fate != session.NotStarted {
		return false
	}
	conn, err := transport.Dial(ctx, s.endpoint(twin))
	if err == nil {
		_ = conn.Close() // the connection was only a question
		return false
	}
	var status *transport.StatusError
	return errors.As(err, &status) && (status.Code == http.StatusGone || s.gone(ctx, err, twin))
}

func (s *connection) endpoint(twin *provision.Twin) transport.Endpoint {
	return transport.Endpoint{
		URL:     twin.URL,
		Version: s.version,
		Header:  func(ctx context.Context) (http.Header, error) { return s.header(ctx, twin.URL) },
	}
}

// leave tells the agent that we go and reports whether we were the last.
func (s *connection) leave(ctx context.Context, client *session.Client, twin *provision.Twin) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	remaining, err := client.Leave(ctx)
	others := remaining.Connections
	if err != nil {
		s.log.Info("leaving", "error", err)
		others, err = s.leaveAgain(ctx, twin)
	}
	switch {
	case err != nil:
		s.log.Info("asking the agent who else is there", "error", err)
		// Nobody can say whether others are there: whoever made the twin
		// deletes it, so that it cannot be left behind.
		if twin.Joined {
			s.ui.Warnf("the agent does not say whether others are in %s", twin.Name)
			s.noteKept(twin)
		}
		return !twin.Joined
	case others > 0:
		s.ui.Notef("%s stays: %d more session(s) in it", twin.Name, others)
		return false
	}
	return true
}

// dial connects to the agent and shakes hands with its SSH server.
func (s *connection) dial(ctx context.Context, twin *provision.Twin) (client *session.Client, err error) {
	update, done := s.ui.Progress("connecting to " + twin.Name)
	defer func() { done(err) }()
	conn, err := s.dialPatiently(ctx, twin, s.endpoint(twin), update)
	if err != nil {
		return nil, s.explain(err, twin)
	}
	s.log.Info("connected", "twin", twin.Name, "instance", conn.Peer().Instance, "host key", conn.Peer().HostKey)
	client, err = s.handshake(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("opening the SSH session in %s: %w", twin.Name, err)
	}
	s.guard.tell(guardMessage{Connection: client.ID()})
	return client, nil
}

// handshake runs SSH over a connection, with the host key that came over TLS.
// It owns conn.
func (s *connection) handshake(ctx context.Context, conn *transport.Conn) (*session.Client, error) {
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(conn.Peer().HostKey))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the agent's host key: %w", err), conn.Close())
	}
	return session.New(ctx, conn, session.Config{Signer: s.key, HostKey: hostKey, User: "cloudssh"})
}

// header is the front door's: an ID token for the twin, in the header that
// leaves Authorization free.
func (s *connection) header(ctx context.Context, audience string) (http.Header, error) {
	token, err := s.cloud.creds.IDToken(ctx, audience)
	if err != nil {
		return nil, &tokenError{err}
	}
	h := http.Header{"User-Agent": {"cloudssh/" + s.version}}
	if token != "" {
		h.Set("X-Serverless-Authorization", "Bearer "+token)
	}
	return h, nil
}

// tokenError says that our credentials give no ID token: trying again makes
// no other.
type tokenError struct{ error }

func (e *tokenError) Unwrap() error { return e.error }

// dialPatiently dials until the front door lets us in, the failure is one
// that time cannot mend, or patience ends.
func (s *connection) dialPatiently(ctx context.Context, twin *provision.Twin, e transport.Endpoint, update func(string)) (*transport.Conn, error) {
	patience := dialPatience
	if s.cloud.emulator != "" {
		patience = emulatorDialPatience
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 3*time.Second) {
		conn, err := transport.Dial(ctx, e)
		if err == nil || !passing(err) || ctx.Err() != nil {
			return conn, err
		}
		if s.gone(ctx, err, twin) {
			return nil, fmt.Errorf("%w: %w", provision.ErrTwinGone, err)
		}
		update(err.Error())
		s.log.Debug("dialling", "url", e.URL, "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.C:
			return nil, err
		case <-time.After(wait):
		}
	}
}

// gone tells a URL that is not known yet from a twin that another session, the
// last in it, has deleted: both answer 404.
func (s *connection) gone(ctx context.Context, err error, twin *provision.Twin) bool {
	var status *transport.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusNotFound {
		return false
	}
	for t, err := range s.cloud.backend.Twins(ctx) {
		if err != nil || (t.Name == twin.Name && t.Region == twin.Region && (t.UID == "" || t.UID == twin.UID)) {
			return false
		}
	}
	return true
}

// passing reports whether a failed dial may succeed a little later.
func passing(err error) bool {
	var status *transport.StatusError
	if errors.As(err, &status) {
		switch status.Code {
		case http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var (
		version *transport.VersionError
		token   *tokenError
	)
	return !errors.As(err, &version) && !errors.As(err, &token)
}

// explain adds to a failed dial what the user can do about it.
func (s *connection) explain(err error, twin *provision.Twin) error {
	var (
		version *transport.VersionError
		status  *transport.StatusError
	)
	wrapped := fmt.Errorf("connecting to %s: %w", twin.Name, err)
	switch {
	case errors.As(err, &version):
		return withHints(wrapped, "cloudssh cleanup --project "+twin.Project+" # deletes the twin of the other version")
	case !errors.As(err, &status):
		return wrapped
	case status.Code == http.StatusGone:
		return fmt.Errorf("%w: %w", provision.ErrTwinGone, wrapped)
	case status.Code == http.StatusUnauthorized, status.Code == http.StatusForbidden:
		member := s.cloud.creds.Account
		if !strings.Contains(member, ":") {
			kind := "user:"
			if strings.HasSuffix(member, ".gserviceaccount.com") {
				kind = "serviceAccount:"
			}
			member = kind + member
		}
		return withHints(fmt.Errorf("%w (acting as %s, which needs run.routes.invoke)", wrapped, s.cloud.creds),
			fmt.Sprintf("gcloud projects add-iam-policy-binding %s --member=%s --role=roles/run.developer", twin.Project, member))
	}
	return wrapped
}

// session runs the command or the shell.
func (s *connection) session(ctx context.Context, client *session.Client, twin *provision.Twin) error {
	cmd := session.Command{
		Shell:  s.options.command.shell,
		Argv:   s.options.command.argv,
		Env:    s.clientEnv(),
		Stdin:  s.in,
		Stdout: output{s.out},
		Stderr: output{s.err},
	}
	if !s.wantsTerminal() {
		s.ui.Settle("")
		return client.Run(ctx, cmd)
	}
	if s.terminal == nil {
		s.ui.Settle("")
		cmd.Terminal = &session.Terminal{Term: s.term(), Size: tty.Size{Cols: 80, Rows: 24}}
		return client.Run(ctx, cmd)
	}
	s.ui.Settle(fmt.Sprintf("%s, a twin of %s in %s. Leave with exit or ~. ; ~? helps.", twin.Name, twin.Source, twin.Region))
	return s.runInTerminal(ctx, client, twin, cmd)
}

// wantsTerminal decides as ssh does: a shell gets a pseudo-terminal where
// there is a terminal, a command does not, -t and -T decide otherwise.
func (s *connection) wantsTerminal() bool {
	switch {
	case s.options.tty:
		return true
	case s.options.noTTY:
		return false
	}
	return s.options.command.interactive() && s.terminal != nil
}

func (s *connection) term() string {
	if t := s.env("TERM"); t != "" {
		return t
	}
	return "dumb"
}

// clientEnv is what ssh_config's SendEnv is in most distributions.
func (s *connection) clientEnv() map[string]string {
	env := map[string]string{}
	for _, name := range []string{
		"LANG", "COLORTERM", "LC_ALL", "LC_CTYPE", "LC_COLLATE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME",
	} {
		if v := s.env(name); v != "" {
			env[name] = v
		}
	}
	return env
}

// runInTerminal runs a session in the user's terminal: raw for its duration,
// resized with it, left by `~.`.
func (s *connection) runInTerminal(ctx context.Context, client *session.Client, twin *provision.Twin, cmd session.Command) error {
	size, err := s.terminal.Size()
	if err != nil {
		return fmt.Errorf("reading the terminal's size: %w", err)
	}
	keyboard, err := s.terminal.Input()
	if err != nil {
		return fmt.Errorf("reading the terminal: %w", err)
	}
	defer keyboard.Close() //nolint:errcheck // only read
	sizes, stop := context.WithCancel(ctx)
	defer stop()
	cmd.Terminal = &session.Terminal{Term: s.term(), Size: size, Modes: s.terminal.Modes(), Sizes: s.terminal.Sizes(sizes)}
	cmd.Stdin = tty.NewEscapeReader(keyboard, s.escapes(twin))
	// A full-screen program that was cut off leaves the screen in its modes.
	screen := tty.NewOutput(cmd.Stdout, tty.OutputOptions{})
	cmd.Stdout = screen
	err = s.terminal.Raw(func() error { return client.Run(ctx, cmd) })
	if resetErr := screen.Reset(); resetErr != nil {
		s.log.Info("resetting the screen", "error", resetErr)
	}
	if errors.Is(err, tty.ErrDisconnect) {
		s.ui.Notef("left %s", twin.Name)
	}
	return err
}

func (s *connection) escapes(twin *provision.Twin) tty.EscapeOptions {
	var char byte
	if s.options.escape != "none" {
		char = s.options.escape[0]
	}
	help := func() {
		left := time.Until(twin.Expires).Round(time.Minute)
		text := fmt.Sprintf("\n%[1]c.  leave the session\n%[1]c%[1]c  type one %[1]c\n%[1]c?  this help\n"+
			"(escapes work at the start of a line)\n%[2]s, a twin of %[3]s in %[4]s; its lease ends in %[5]s\n",
			char, twin.Name, twin.Source, twin.Region, left)
		_, _ = io.WriteString(s.out, strings.ReplaceAll(text, "\n", "\r\n")) // a note to the user; its loss is no error
	}
	return tty.EscapeOptions{Char: char, Help: help}
}
