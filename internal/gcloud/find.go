package gcloud

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/compute/metadata"
)

// probeTimeout bounds the question whether a metadata server exists: off
// Google Cloud its address may swallow packets.
const probeTimeout = 3 * time.Second

// Find returns the credentials to use: the account of --account;
// auth/access_token_file; GOOGLE_APPLICATION_CREDENTIALS; gcloud's active
// account; gcloud's application default credentials; the metadata server.
// A service account to impersonate is then impersonated by what was found.
//
// With RUN_EMULATOR_HOST set, only the metadata server of GCE_METADATA_HOST
// is used, and otherwise none: a local process never gets real tokens.
//
// Errors that have a remedy carry it in a method Hints() []string.
func Find(ctx context.Context, cfg Config, o Options) (*Credentials, error) {
	f := finder{cfg: cfg, o: o.withDefaults()}
	c, err := f.base(ctx)
	if err != nil {
		return nil, err
	}
	if f.target() != "" {
		if c, err = f.impersonate(c); err != nil {
			return nil, err
		}
	}
	if cfg.QuotaProject != "" {
		c.QuotaProject = cfg.QuotaProject
	}
	f.o.Logger.Debug("using credentials", "kind", c.Kind, "account", c.Account)
	return c, nil
}

type finder struct {
	cfg Config
	o   Options
}

func (f *finder) emulator() string { return f.o.Env("RUN_EMULATOR_HOST") }

// target is the service account, or chain of them, to impersonate. What the
// user's configuration files say is not meant for the emulator.
func (f *finder) target() string {
	if f.emulator() != "" && strings.HasPrefix(f.cfg.Source(Impersonate), "configuration") {
		return ""
	}
	return f.cfg.ImpersonateServiceAccount
}

// base finds the credentials before impersonation.
func (f *finder) base(ctx context.Context) (*Credentials, error) {
	if f.emulator() != "" {
		if host := f.o.Env("GCE_METADATA_HOST"); host == "" || googles(host) {
			return &Credentials{Kind: KindAnonymous}, nil
		}
		return f.metadata(ctx)
	}
	for _, find := range []func(context.Context) (*Credentials, error){
		f.namedAccount, f.tokenFile, f.namedFile, f.activeAccount, f.wellKnownFile, f.onGoogleCloud,
	} {
		if c, err := find(ctx); c != nil || err != nil {
			return c, err
		}
	}
	return nil, &Error{Err: ErrNoCredentials, hints: f.loginHints()}
}

// googles reports whether a metadata server is the real one, which some images
// and build services put into GCE_METADATA_HOST. Its name and addresses are
// those of https://cloud.google.com/compute/docs/metadata/overview.
func googles(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	switch strings.ToLower(strings.Trim(name, "[].")) {
	case "169.254.169.254", "fd20:ce::254", "metadata", "metadata.google.internal":
		return true
	}
	return false
}

func (f *finder) loginHints() []string {
	login := "gcloud auth login"
	if lookGcloud(f.o.Env) == "" {
		login = "install gcloud (https://cloud.google.com/sdk/docs/install) and run `gcloud auth login`"
	}
	return []string{login, "cloudssh demo (works without an account)"}
}

// namedAccount uses the account that the command line names; only gcloud
// knows how to log in to it.
func (f *finder) namedAccount(ctx context.Context) (*Credentials, error) {
	if f.cfg.Source(Account) != "--account" {
		return nil, nil
	}
	if lookGcloud(f.o.Env) == "" {
		return nil, &Error{
			Err:   fmt.Errorf("--account %s: gcloud is not in the PATH", f.cfg.Account),
			hints: f.loginHints(),
		}
	}
	return f.gcloud(ctx)
}

func (f *finder) tokenFile(context.Context) (*Credentials, error) {
	if f.cfg.AccessTokenFile == "" {
		return nil, nil
	}
	s := tokenFile{name: f.cfg.AccessTokenFile}
	if _, err := s.access(context.Background()); err != nil {
		return nil, fmt.Errorf("%s: %w", f.cfg.Source(TokenFile), err)
	}
	return &Credentials{Kind: KindTokenFile, Account: f.cfg.Account, src: s}, nil
}

// tokenFile is auth/access_token_file: a token that somebody else renews.
type tokenFile struct{ name string }

func (s tokenFile) access(context.Context) (*auth.Token, error) {
	b, err := os.ReadFile(s.name)
	if err != nil {
		return nil, fmt.Errorf("reading the access token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return nil, fmt.Errorf("the access token file %s is empty", s.name)
	}
	return &auth.Token{Value: token}, nil
}

func (s tokenFile) id(context.Context, string) (*auth.Token, error) {
	return nil, &Error{
		Err: fmt.Errorf("an access token file (%s) gives no ID token, which a private service needs", s.name),
		hints: []string{
			"gcloud config unset auth/access_token_file",
			"--impersonate-service-account, if the token's owner may impersonate one",
		},
	}
}

func (f *finder) namedFile(ctx context.Context) (*Credentials, error) {
	name := f.o.Env("GOOGLE_APPLICATION_CREDENTIALS")
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading GOOGLE_APPLICATION_CREDENTIALS: %w", err)
	}
	return f.file(ctx, name, b)
}

// activeAccount uses gcloud's login. Without gcloud, or without an account,
// others may have credentials.
func (f *finder) activeAccount(ctx context.Context) (*Credentials, error) {
	if f.cfg.Account == "" {
		return nil, nil
	}
	if lookGcloud(f.o.Env) == "" {
		f.o.Logger.Debug("gcloud has an account but is not in the PATH", "account", f.cfg.Account)
		return nil, nil
	}
	return f.gcloud(ctx)
}

func (f *finder) wellKnownFile(ctx context.Context) (*Credentials, error) {
	name := filepath.Join(f.cfg.Dir, "application_default_credentials.json")
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading application default credentials: %w", err)
	}
	return f.file(ctx, name, b)
}

func (f *finder) onGoogleCloud(ctx context.Context) (*Credentials, error) {
	if f.o.Env("GCE_METADATA_HOST") == "" {
		if f.o.Env("NO_GCE_CHECK") == "true" { // as Google's own libraries
			return nil, nil
		}
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		if !metadata.OnGCEWithContext(probe) {
			return nil, nil
		}
	}
	return f.metadata(ctx)
}
