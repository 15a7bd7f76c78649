package gcloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/credentials/idtoken"
	"cloud.google.com/go/auth/credentials/impersonate"
	"cloud.google.com/go/compute/metadata"
)

// scopes are what gcloud asks for too; email puts the address into ID tokens.
func scopes() []string {
	return []string{
		"https://www.googleapis.com/auth/cloud-platform",
		"https://www.googleapis.com/auth/userinfo.email",
		"openid",
	}
}

// fileHead is what the JSON forms of credentials have in common, and what
// says whose they are.
type fileHead struct {
	Type             credentials.CredType `json:"type"`
	ClientEmail      string               `json:"client_email"`
	ProjectID        string               `json:"project_id"`
	QuotaProject     string               `json:"quota_project_id"`
	ImpersonationURL string               `json:"service_account_impersonation_url"`
}

// target is the service account that the credentials impersonate by
// themselves; empty when they do not.
func (h fileHead) target() string {
	account, _, _ := strings.Cut(path.Base(h.ImpersonationURL), ":")
	if !strings.Contains(account, "@") {
		return ""
	}
	return account
}

// file makes credentials of a JSON file, by its type.
func (f *finder) file(ctx context.Context, name string, b []byte) (*Credentials, error) {
	var head fileHead
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("reading %s: it is no JSON", name) // whose text may be a secret
	}
	c := &Credentials{Project: head.ProjectID, QuotaProject: head.QuotaProject}
	switch head.Type {
	case credentials.ServiceAccount:
		c.Kind, c.Account = KindServiceAccount, head.ClientEmail
	case credentials.AuthorizedUser:
		c.Kind = KindUserADC
	case credentials.ImpersonatedServiceAccount:
		c.Kind, c.Account = KindImpersonated, head.target()
	case credentials.ExternalAccount:
		c.Kind, c.Account = KindExternal, head.target()
	case credentials.ExternalAccountAuthorizedUser:
		c.Kind = KindExternal
		if f.target() == "" {
			return nil, unsupportedWorkforce(name)
		}
	default:
		return nil, fmt.Errorf("reading %s: credentials of type %q are not supported", name, head.Type)
	}
	tokens, err := credentials.NewCredentialsFromJSON(head.Type, b, &credentials.DetectOptions{
		Scopes: scopes(), Client: f.o.Client, EarlyTokenRefresh: expireEarly, DisableAsyncRefresh: true,
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if head.Type == credentials.AuthorizedUser {
		return f.user(ctx, c, tokens)
	}
	c.src = &fileSource{tokens: tokens, byAudience: byAudience{make: func(audience string) (auth.TokenProvider, error) {
		return f.idTokens(head, b, audience)
	}}}
	return c, nil
}

func unsupportedWorkforce(name string) error {
	return &Error{
		Err: fmt.Errorf("%s holds workforce credentials (external_account_authorized_user), for which Google makes no ID token", name),
		hints: []string{
			"--impersonate-service-account SERVICE_ACCOUNT, if you may impersonate one",
			"gcloud auth login",
		},
	}
}

// fileSource is credentials of a JSON file, as Google's libraries use them.
type fileSource struct {
	tokens auth.TokenProvider
	byAudience
}

func (s *fileSource) access(ctx context.Context) (*auth.Token, error) { return s.tokens.Token(ctx) }

func (f *finder) idTokens(head fileHead, b []byte, audience string) (auth.TokenProvider, error) {
	if head.Type != credentials.ServiceAccount && head.target() == "" {
		return nil, &Error{
			Err:   errors.New("federated credentials that impersonate no service account have no ID tokens"),
			hints: []string{"--impersonate-service-account SERVICE_ACCOUNT"},
		}
	}
	return idtoken.NewCredentialsFromJSON(head.Type, b, &idtoken.Options{
		Audience: audience, Client: f.o.Client,
	})
}

// user makes credentials of a user's refresh token. Each refresh gives an ID
// token beside the access token, and that says who the user is.
func (f *finder) user(ctx context.Context, c *Credentials, tokens auth.TokenProvider) (*Credentials, error) {
	s := userSource{tokens}
	id, err := s.id(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("refreshing application default credentials: %w", c.explain(err))
	}
	c.Account, c.src = claimsOf(id.Value).Email, s
	return c, nil
}

type userSource struct{ tokens auth.TokenProvider }

func (s userSource) access(ctx context.Context) (*auth.Token, error) { return s.tokens.Token(ctx) }

func (s userSource) id(ctx context.Context, _ string) (*auth.Token, error) {
	t, err := s.tokens.Token(ctx)
	if err != nil {
		return nil, err
	}
	id, _ := t.Metadata["id_token"].(string)
	if id == "" {
		return nil, errors.New("the refresh token was made without the scope openid, so there is no ID token")
	}
	return &auth.Token{Value: id, Expiry: t.Expiry}, nil
}

// impersonate makes credentials of the target service account, with tokens
// that base may ask for.
func (f *finder) impersonate(base *Credentials) (*Credentials, error) {
	chain := strings.Split(f.target(), ",")
	for i := range chain {
		chain[i] = strings.TrimSpace(chain[i])
	}
	target, delegates := chain[len(chain)-1], chain[:len(chain)-1]
	client := &http.Client{Timeout: f.o.Client.Timeout, Transport: bearer{base, f.iamTransport()}}
	access, err := impersonate.NewCredentials(&impersonate.CredentialsOptions{
		TargetPrincipal: target, Delegates: delegates, Scopes: scopes()[:1], Client: client,
	})
	if err != nil {
		return nil, fmt.Errorf("impersonating %s: %w", target, err)
	}
	ids := func(audience string) (auth.TokenProvider, error) {
		return impersonate.NewIDTokenCredentials(&impersonate.IDTokenOptions{
			Audience: audience, TargetPrincipal: target, Delegates: delegates, IncludeEmail: true, Client: client,
		})
	}
	return &Credentials{
		Kind: KindImpersonated, Account: target, Project: base.Project, QuotaProject: base.QuotaProject,
		src: &fileSource{tokens: access, byAudience: byAudience{make: ids}},
	}, nil
}

// iamTransport reaches the IAM Credentials API: the emulator's own, if there
// is an emulator.
func (f *finder) iamTransport() http.RoundTripper {
	t := f.o.Client.Transport
	if t == nil {
		t = http.DefaultTransport
	}
	if host := f.emulator(); host != "" {
		return redirect{host, t}
	}
	return t
}

// bearer adds an access token to each request.
type bearer struct {
	c    *Credentials
	next http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.c.AccessToken(r.Context())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if b.c.QuotaProject != "" {
		r.Header.Set("X-Goog-User-Project", b.c.QuotaProject)
	}
	return b.next.RoundTrip(r)
}

// redirect sends each request to one host, in the clear.
type redirect struct {
	host string
	next http.RoundTripper
}

func (d redirect) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", d.host
	return d.next.RoundTrip(r)
}

// metadata uses the metadata server, real or the emulator's.
func (f *finder) metadata(ctx context.Context) (*Credentials, error) {
	var o metadata.Options // no logger: the library logs tokens
	if host := f.o.Env("GCE_METADATA_HOST"); host != "" {
		// No proxy, and no reading of the environment behind our back.
		o.Client = &http.Client{Timeout: f.o.Client.Timeout, Transport: redirect{host, &http.Transport{}}}
	}
	m := metadata.NewWithOptions(&o)
	account, err := m.EmailWithContext(ctx, "default")
	if err != nil {
		err = fmt.Errorf("asking the metadata server who we are: %w", err)
		if f.emulator() != "" {
			return nil, &Error{Err: err, hints: []string{"cloudssh emulator (is it still running? GCE_METADATA_HOST points at it)"}}
		}
		return nil, err
	}
	project, err := m.GetWithContext(ctx, "project/project-id")
	if err != nil {
		f.o.Logger.Debug("the metadata server names no project", "error", err)
	}
	s := metadataSource{m}
	return &Credentials{
		Kind: KindMetadata, Account: account, Project: strings.TrimSpace(project),
		src: &fileSource{tokens: cached(provider(s.access)), byAudience: byAudience{
			make: func(audience string) (auth.TokenProvider, error) {
				return cached(provider(func(ctx context.Context) (*auth.Token, error) { return s.id(ctx, audience) })), nil
			},
		}},
	}, nil
}

type metadataSource struct{ m *metadata.Client }

func (s metadataSource) access(ctx context.Context) (*auth.Token, error) {
	b, err := s.m.GetWithContext(ctx, "instance/service-accounts/default/token")
	if err != nil {
		return nil, fmt.Errorf("asking the metadata server for a token: %w", err)
	}
	var t struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(b), &t); err != nil || t.AccessToken == "" {
		return nil, errors.New("the metadata server gave no token")
	}
	return &auth.Token{Value: t.AccessToken, Expiry: time.Now().Add(time.Duration(t.ExpiresIn) * time.Second)}, nil
}

func (s metadataSource) id(ctx context.Context, audience string) (*auth.Token, error) {
	q := url.Values{"audience": {audience}, "format": {"full"}}
	b, err := s.m.GetWithContext(ctx, "instance/service-accounts/default/identity?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("asking the metadata server for an ID token: %w", err)
	}
	token := strings.TrimSpace(b)
	c := claimsOf(token)
	if c.Expires == 0 {
		return nil, errors.New("the metadata server gave no ID token")
	}
	return &auth.Token{Value: token, Expiry: time.Unix(c.Expires, 0)}, nil
}
