// Package gcloud reads what the user has set up for Google Cloud, the way the
// gcloud command reads it: project, region, account, and credentials.
package gcloud

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"golang.org/x/oauth2"
)

// Property names one setting, as `gcloud config set` does.
type Property string

// The properties a Config holds.
const (
	Project     Property = "core/project"
	Account     Property = "core/account"
	RunRegion   Property = "run/region"
	Impersonate Property = "auth/impersonate_service_account"
	TokenFile   Property = "auth/access_token_file"
	RunEndpoint Property = "api_endpoint_overrides/run"
	Quota       Property = "billing/quota_project"
)

// Flags are the command line's settings; empty ones were not given.
type Flags struct{ Project, Region, Account, Configuration, Impersonate string }

// Config is what applies after flags, environment and configuration files.
type Config struct {
	Project, Region, Account  string
	ImpersonateServiceAccount string // may be a chain "delegate,target"
	AccessTokenFile           string
	RunEndpoint               string // api_endpoint_overrides/run
	QuotaProject              string
	Configuration             string // name of the active configuration
	Dir                       string // gcloud's configuration directory
	DisablePrompts            bool
	sources                   map[Property]string
}

// Source says where a property came from, for messages: "--project",
// "CLOUDSDK_CORE_PROJECT", "configuration default". Empty when it is unset.
func (c Config) Source(p Property) string { return c.sources[p] }

// Load reads the settings. env is os.Getenv or a test's.
func Load(ctx context.Context, f Flags, env func(string) string) (Config, error) {
	panic("not built yet")
}

// Kind is the sort of credentials in use.
type Kind string

// The kinds.
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

// Credentials is the identity cloudssh acts as. It makes tokens, cached until
// shortly before they expire.
type Credentials struct {
	Kind         Kind
	Account      string // e-mail address; empty when it cannot be known
	QuotaProject string // to be sent with API calls when set
}

// String is for display: "jane@example.com (gcloud)".
func (c *Credentials) String() string { panic("not built yet") }

// AccessToken returns an OAuth access token for the Google APIs; empty for
// anonymous credentials.
func (c *Credentials) AccessToken(ctx context.Context) (string, error) { panic("not built yet") }

// IDToken returns an ID token for a Cloud Run service; empty for anonymous
// credentials. audience is the service's URL.
func (c *Credentials) IDToken(ctx context.Context, audience string) (string, error) {
	panic("not built yet")
}

// TokenSource returns access tokens for client libraries; nil for anonymous
// credentials.
func (c *Credentials) TokenSource() oauth2.TokenSource { panic("not built yet") }

// ErrNoCredentials is what Find's error wraps when there are none.
var ErrNoCredentials = errors.New("no Google Cloud credentials found")

// Options are Find's surroundings.
type Options struct {
	Env    func(string) string // nil: os.Getenv
	Client *http.Client        // for token endpoints; nil: a default one
	Logger *slog.Logger        // nil: none
}

// Find returns the credentials to use. Errors that have a remedy carry
// it in a method Hints() []string.
func Find(ctx context.Context, cfg Config, o Options) (*Credentials, error) { panic("not built yet") }
