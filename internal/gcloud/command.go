package gcloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
)

// gcloud uses gcloud's own login through `gcloud config config-helper`, made
// for kubectl and the like.
func (f *finder) gcloud(ctx context.Context) (*Credentials, error) {
	g := &command{path: lookGcloud(f.o.Env), account: f.cfg.Account, now: time.Now}
	if f.cfg.Source(Account) == "--account" {
		g.flags = append(g.flags, "--account="+f.cfg.Account)
	}
	if f.cfg.Source(configuration) == "--configuration" {
		g.flags = append(g.flags, "--configuration="+f.cfg.Configuration)
	}
	out, err := g.get(ctx)
	if err != nil {
		return nil, err
	}
	if account := out.Configuration.Properties.Core.Account; account != "" {
		g.account = account
	}
	g.make = func(audience string) (auth.TokenProvider, error) {
		return cached(provider(func(ctx context.Context) (*auth.Token, error) { return g.print(ctx, audience) })), nil
	}
	return &Credentials{Kind: KindGcloud, Account: g.account, src: g}, nil
}

// command asks the gcloud command for tokens.
type command struct {
	path    string
	flags   []string
	account string
	now     func() time.Time
	byAudience

	mu   sync.Mutex
	last *login
}

// login is the part of config-helper's output that we use.
type login struct {
	Configuration struct {
		Properties struct {
			Core struct {
				Account string `json:"account"`
			} `json:"core"`
		} `json:"properties"`
	} `json:"configuration"`
	Credential struct {
		AccessToken string    `json:"access_token"`
		IDToken     string    `json:"id_token"`
		TokenExpiry time.Time `json:"token_expiry"`
	} `json:"credential"`
}

// expiry is when the first of the tokens expires.
func (o *login) expiry() time.Time {
	t := o.Credential.TokenExpiry
	if exp := claimsOf(o.Credential.IDToken).Expires; exp != 0 && time.Unix(exp, 0).Before(t) {
		return time.Unix(exp, 0)
	}
	return t
}

// get returns tokens that are valid for a while.
func (g *command) get(ctx context.Context) (*login, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last != nil && g.now().Add(expireEarly).Before(g.last.expiry()) {
		return g.last, nil
	}
	// A token lives for an hour; ten minutes are left after a cached one.
	b, err := g.run(ctx, "config", "config-helper", "--format=json", "--min-expiry=10m")
	if err != nil {
		return nil, err
	}
	out := new(login)
	if err := json.Unmarshal(b, out); err != nil {
		return nil, errors.New("reading gcloud's credentials: config-helper printed no JSON of the expected form")
	}
	if out.Credential.AccessToken == "" {
		return nil, errors.New("gcloud has no access token for the active account")
	}
	g.last = out
	return out, nil
}

// run runs gcloud. Its standard output holds tokens and goes into no message.
func (g *command) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, g.path, append(args, g.flags...)...)
	// We impersonate ourselves, from the user's own tokens.
	cmd.Env = append(os.Environ(), "CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT=")
	cmd.WaitDelay = 10 * time.Second // for children that keep the pipes open
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		err = fmt.Errorf("asking gcloud for credentials: %w%s", err, complaint(stderr.String()))
		again := strings.TrimSpace("gcloud auth login " + g.account)
		return nil, &Error{Err: err, hints: []string{again, "cloudssh demo (works without an account)"}}
	}
	return stdout.Bytes(), nil
}

// complaint picks the error out of what gcloud wrote: it is followed by
// advice that we give ourselves.
func complaint(stderr string) string {
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "ERROR:") {
			return ": " + strings.TrimSpace(strings.TrimPrefix(line, "ERROR:"))
		}
	}
	if first, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n"); first != "" {
		return ": " + first
	}
	return ""
}

func (g *command) access(ctx context.Context) (*auth.Token, error) {
	out, err := g.get(ctx)
	if err != nil {
		return nil, err
	}
	return &auth.Token{Value: out.Credential.AccessToken, Expiry: out.Credential.TokenExpiry}, nil
}

// id returns the user's ID token, which has no audience of ours, or for a
// service account that gcloud is logged in to, one with it.
func (g *command) id(ctx context.Context, audience string) (*auth.Token, error) {
	if isServiceAccount(g.account) {
		return g.byAudience.id(ctx, audience)
	}
	out, err := g.get(ctx)
	if err != nil {
		return nil, err
	}
	if out.Credential.IDToken == "" {
		return nil, &Error{
			Err:   fmt.Errorf("gcloud has no ID token for %s", g.account),
			hints: []string{"gcloud auth login " + g.account, "--impersonate-service-account"},
		}
	}
	return &auth.Token{Value: out.Credential.IDToken, Expiry: out.expiry()}, nil
}

// print asks for a service account's ID token.
func (g *command) print(ctx context.Context, audience string) (*auth.Token, error) {
	b, err := g.run(ctx, "auth", "print-identity-token", "--audiences="+audience)
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(string(b))
	c := claimsOf(token)
	if c.Expires == 0 {
		return nil, errors.New("reading gcloud's ID token: print-identity-token printed none")
	}
	return &auth.Token{Value: token, Expiry: time.Unix(c.Expires, 0)}, nil
}

func isServiceAccount(account string) bool {
	return strings.HasSuffix(account, ".gserviceaccount.com")
}
