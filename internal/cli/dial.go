package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
)

// How long a twin that is Ready may refuse us: a fresh run.app URL answers
// 403, 404 or 503 until it is known everywhere. A local emulator knows at once
// who may come and what there is.
const (
	dialPatience         = 45 * time.Second
	emulatorDialPatience = 3 * time.Second
)

// link is a connection to an agent: SSH, the stream that carries it, and what
// is known of that stream's state.
type link struct {
	*session.Client
	conn   *transport.Conn
	outage *outage
}

// noteWire says when the connection is not of the usual kind.
func (s *connection) noteWire(l *link) {
	if state, _ := l.outage.look(); state.Wire == transport.WireHTTP.String() && s.options.wire.Wire == transport.WireAuto {
		s.ui.Notef("WebSocket upgrades are blocked here; using plain HTTPS")
	}
}

// dial connects to the agent and shakes hands with its SSH server.
func (s *connection) dial(ctx context.Context, twin *provision.Twin) (l *link, err error) {
	update, done := s.ui.Progress("connecting to " + twin.Name)
	defer func() { done(err) }()
	if l, err = s.open(ctx, twin, update); err != nil {
		return nil, err
	}
	if l.Client, err = s.handshake(ctx, l.conn); err != nil {
		if ctx.Err() == nil && s.closedToUs(ctx, twin) {
			return nil, fmt.Errorf("%w: %w", provision.ErrTwinGone, err)
		}
		return nil, fmt.Errorf("opening the SSH session in %s: %w", twin.Name, err)
	}
	s.guard.tell(guardMessage{Connection: l.ID(), Instance: l.conn.Peer().Instance})
	return l, nil
}

// open connects to the agent: what it returns has no Client yet.
func (s *connection) open(ctx context.Context, twin *provision.Twin, update func(string)) (*link, error) {
	l := &link{outage: newOutage()}
	e := s.endpoint(twin)
	e.Observe = l.outage.observe
	var err error
	if l.conn, err = s.dialPatiently(ctx, twin, e, update); err != nil {
		return nil, s.explain(err, twin)
	}
	peer := l.conn.Peer()
	s.log.Info("connected", "twin", twin.Name, "instance", peer.Instance, "host key", peer.HostKey)
	return l, nil
}

func (s *connection) endpoint(twin *provision.Twin) transport.Endpoint {
	return transport.Endpoint{
		URL:     twin.URL,
		Version: s.version,
		Header:  func(ctx context.Context) (http.Header, error) { return s.header(ctx, twin.URL) },
		Wire:    s.options.wire.Wire,
		Logger:  s.log,
	}
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
	began := time.Now()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 3*time.Second) {
		conn, err := transport.Dial(ctx, e)
		if err == nil || !passing(err) || ctx.Err() != nil {
			return conn, err
		}
		if s.gone(ctx, err, twin) {
			return nil, fmt.Errorf("%w: %w", provision.ErrTwinGone, err)
		}
		left := s.patience(err) - time.Since(began)
		if left <= 0 {
			return nil, err
		}
		update(err.Error())
		s.log.Debug("dialling", "url", e.URL, "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(wait, left)):
		}
	}
}

// patience is for how long a failure may pass.
func (s *connection) patience(err error) time.Duration {
	var status *transport.StatusError
	refused := errors.As(err, &status) && (status.Code == http.StatusForbidden || status.Code == http.StatusNotFound)
	if s.cloud.emulator != "" && (refused || errors.Is(err, syscall.ECONNREFUSED)) {
		return emulatorDialPatience
	}
	return dialPatience
}

// gone tells a URL that is not known yet from a twin that another session, the
// last in it, has deleted: both answer 404.
func (s *connection) gone(ctx context.Context, err error, twin *provision.Twin) bool {
	var status *transport.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusNotFound {
		return false
	}
	there, err := s.listed(ctx, twin)
	return err == nil && there == nil
}

// listed is a twin as the platform lists it, nil when it does not: a later one
// of its name, which has its URL, is another.
func (s *connection) listed(ctx context.Context, twin *provision.Twin) (*provision.Twin, error) {
	for t, err := range s.cloud.backend.Twins(ctx) {
		if err != nil {
			return nil, err
		}
		if t.Name == twin.Name && t.Region == twin.Region && t.Maker == twin.Maker {
			return &t, nil
		}
	}
	return nil, nil
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
		if !twin.Joined && s.options.source.inject == string(provision.InjectSidecar) { // it is new, and the sidecar's image is not
			return withHints(wrapped, "cloudssh "+twin.Source+" --inject sidecar --agent-image "+agentImage(s.version), "cloudssh "+twin.Source+" --inject layer")
		}
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

// shutOut reports whether our command did not start because the last of the
// others left while we came in: the twin is about to go.
func (s *connection) shutOut(ctx context.Context, err error, twin *provision.Twin) bool {
	var none *session.NoStatusError
	if ctx.Err() != nil || !errors.As(err, &none) || none.Fate != session.NotStarted {
		return false
	}
	return s.closedToUs(ctx, twin)
}

// closedToUs reports whether an agent takes nobody any more, because the last
// of the others has left. While the twin goes other answers may come first.
func (s *connection) closedToUs(ctx context.Context, twin *provision.Twin) bool {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		conn, err := transport.Dial(ctx, s.endpoint(twin))
		switch {
		case err == nil:
			_ = conn.Abort() // it was only a question
			return false
		case isGone(err) || s.gone(ctx, err, twin):
			return true
		case !passing(err):
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// isGone reports whether an agent has answered that it takes nobody any more.
func isGone(err error) bool {
	var (
		status *transport.StatusError
		final  *transport.FinalError
	)
	return errors.As(err, &status) && status.Code == http.StatusGone ||
		errors.As(err, &final) && final.Reason == transport.Gone
}
