package gcloud

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"golang.org/x/oauth2"
)

// Kind is the sort of credentials in use.
type Kind string

// The kinds of credentials.
const (
	KindGcloud         Kind = "gcloud"
	KindTokenFile      Kind = "access token file"
	KindServiceAccount Kind = "service account key"
	KindUserADC        Kind = "application default credentials"
	KindImpersonated   Kind = "impersonation"
	KindExternal       Kind = "workload identity federation"
	KindMetadata       Kind = "metadata server"
	KindAnonymous      Kind = "anonymous"
)

// ErrNoCredentials is what Find's error wraps when there are none at all.
var ErrNoCredentials = errors.New("no Google Cloud credentials found")

// Credentials is the identity cloudssh acts as. It makes tokens and keeps
// them until shortly before they expire. Its methods may be called from
// several goroutines.
type Credentials struct {
	Kind         Kind
	Account      string // e-mail address; empty when it cannot be known
	Project      string // of the credentials, a last resort; often empty
	QuotaProject string // to be named in calls of Google APIs; often empty

	src source
}

// source makes the tokens of one kind of credentials.
type source interface {
	access(context.Context) (*auth.Token, error)
	id(ctx context.Context, audience string) (*auth.Token, error)
}

// String is for display: `jane@example.com (gcloud)`.
func (c *Credentials) String() string {
	if c.Account == "" {
		return string(c.Kind)
	}
	return fmt.Sprintf("%s (%s)", c.Account, c.Kind)
}

// AccessToken returns an OAuth access token for Google APIs; an empty one for
// anonymous credentials.
func (c *Credentials) AccessToken(ctx context.Context) (string, error) {
	if c.src == nil {
		return "", nil
	}
	t, err := c.src.access(ctx)
	if err != nil {
		return "", fmt.Errorf("getting an access token for %s: %w", c, c.explain(err))
	}
	return t.Value, nil
}

// IDToken returns an ID token for a Cloud Run service, of which audience is
// the URL; an empty one for anonymous credentials. A user's token carries no
// audience of ours: Cloud Run accepts it without.
func (c *Credentials) IDToken(ctx context.Context, audience string) (string, error) {
	if c.src == nil {
		return "", nil
	}
	t, err := c.src.id(ctx, audience)
	if err != nil {
		return "", fmt.Errorf("getting an ID token for %s: %w", c, c.explain(err))
	}
	return t.Value, nil
}

// TokenSource returns access tokens for client libraries; nil for anonymous
// credentials.
func (c *Credentials) TokenSource() oauth2.TokenSource {
	if c.src == nil {
		return nil
	}
	return tokenSource{c}
}

type tokenSource struct{ c *Credentials }

func (s tokenSource) Token() (*oauth2.Token, error) {
	t, err := s.c.src.access(context.Background()) // the interface has no context
	if err != nil {
		return nil, fmt.Errorf("getting an access token for %s: %w", s.c, s.c.explain(err))
	}
	return &oauth2.Token{AccessToken: t.Value, TokenType: "Bearer", Expiry: t.Expiry}, nil
}

// explain makes an error fit to be shown, and adds how to log in again.
func (c *Credentials) explain(err error) error {
	err = scrub(err)
	if c.Kind == KindUserADC {
		return &Error{Err: err, hints: []string{"gcloud auth application-default login"}}
	}
	return err
}

// scrub replaces an error that quotes a token endpoint's whole answer, in
// which a token could be, by what such an answer says of the error.
func scrub(err error) error {
	var answer *auth.Error
	if !errors.As(err, &answer) {
		return err
	}
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	status := "no status"
	if answer.Response != nil {
		status = answer.Response.Status
	}
	if json.Unmarshal(answer.Body, &body) != nil || body.Error == "" {
		return fmt.Errorf("the token endpoint answered %s", status)
	}
	return fmt.Errorf("the token endpoint answered %s: %s: %s", status, body.Error, body.Description)
}

// Options are the surroundings that Find looks into.
type Options struct {
	Env    func(string) string // nil: os.Getenv
	Client *http.Client        // for token endpoints; nil: one of our own
	Logger *slog.Logger        // nil: none; tokens are never logged
}

func (o Options) withDefaults() Options {
	if o.Env == nil {
		o.Env = os.Getenv
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 30 * time.Second}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// claims are what we read of an ID token that was just given to us by its
// issuer, and so need not verify.
type claims struct {
	Email   string `json:"email"`
	Expires int64  `json:"exp"`
}

func claimsOf(idToken string) claims {
	var c claims
	parts := strings.Split(idToken, ".")
	if len(parts) != 3 {
		return c
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return c
	}
	_ = json.Unmarshal(b, &c) // what is missing stays empty
	return c
}

// byAudience keeps a provider of ID tokens for each audience.
type byAudience struct {
	mu   sync.Mutex
	of   map[string]auth.TokenProvider
	make func(audience string) (auth.TokenProvider, error)
}

func (b *byAudience) id(ctx context.Context, audience string) (*auth.Token, error) {
	b.mu.Lock()
	p := b.of[audience]
	if p == nil {
		var err error
		if p, err = b.make(audience); err != nil {
			b.mu.Unlock()
			return nil, err
		}
		if b.of == nil {
			b.of = make(map[string]auth.TokenProvider)
		}
		b.of[audience] = p
	}
	b.mu.Unlock()
	return p.Token(ctx)
}

// provider is a function as an auth.TokenProvider.
type provider func(context.Context) (*auth.Token, error)

func (p provider) Token(ctx context.Context) (*auth.Token, error) { return p(ctx) }

// cached keeps p's tokens until shortly before they expire.
func cached(p auth.TokenProvider) auth.TokenProvider {
	return auth.NewCachedTokenProvider(p, &auth.CachedTokenProviderOptions{
		ExpireEarly: expireEarly, DisableAsyncRefresh: true,
	})
}

// expireEarly is how long a token that we hand out is valid at least.
const expireEarly = 5 * time.Minute
