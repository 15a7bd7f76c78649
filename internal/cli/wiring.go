package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/ssh"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cloudssh/cloudssh/images"
	"github.com/cloudssh/cloudssh/internal/gcloud"
	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision/cloudrun"
)

// emulatorHost is the variable that points the client at an emulator, named
// like those of Google's other emulators.
const emulatorHost = "RUN_EMULATOR_HOST"

// cloud is where twins are made, and as whom.
type cloud struct {
	config   gcloud.Config
	creds    *gcloud.Credentials
	backend  *cloudrun.Backend
	emulator string // host:port, or empty
}

// cloud reads gcloud's settings and connects to Cloud Run or to an emulator.
func (a *app) cloud(ctx context.Context) (*cloud, error) {
	cfg, err := a.config(ctx)
	if err != nil {
		return nil, err
	}
	return a.connectTo(ctx, cfg)
}

// config are gcloud's settings, as the flags change them.
func (a *app) config(ctx context.Context) (gcloud.Config, error) {
	return gcloud.Load(ctx, gcloud.Flags{
		Project: a.global.project, Region: a.global.region, Account: a.global.account,
		Configuration: a.global.configuration, Impersonate: a.global.impersonate,
	}, a.env)
}

// connectTo finds the credentials for cfg and makes the backend.
func (a *app) connectTo(ctx context.Context, cfg gcloud.Config) (*cloud, error) {
	creds, err := gcloud.Find(ctx, cfg, gcloud.Options{Env: a.env, Logger: a.log})
	if cfg.Project == "" && err == nil {
		cfg.Project = creds.Project // the metadata server and key files name one
	}
	if cfg.Project == "" {
		return nil, withHints(errors.New("no project set"), "cloudssh --project PROJECT ...", "gcloud config set project PROJECT", "cloudssh demo")
	}
	if err != nil {
		return nil, err
	}
	_, done := a.ui.Progress(fmt.Sprintf("using project %s as %s", cfg.Project, creds))
	done(nil)
	c := &cloud{config: cfg, creds: creds, emulator: a.env(emulatorHost)}
	return c, c.open(ctx, a)
}

// open makes the backend for the present configuration.
func (c *cloud) open(ctx context.Context, a *app) error {
	o := cloudrun.Options{
		Project: c.config.Project,
		Region:  c.config.Region,
		Account: c.creds.Account,
		Agent: func(ctx context.Context, arch string) (inject.Binary, error) {
			agent, shell, err := images.Carried(ctx, arch, a.version)
			return inject.Binary{Bytes: agent, Shell: shell, Version: a.version}, err
		},
		Remote:     []remote.Option{remote.WithAuthFromKeychain(c.keychain())},
		Keychain:   c.keychain(),
		AgentImage: agentImage(a.version),
		Logger:     a.log,
	}
	if c.emulator != "" {
		c.emulatorOptions(&o)
	} else if err := c.googleOptions(&o); err != nil {
		return err
	}
	backend, err := cloudrun.New(ctx, o)
	if err != nil {
		return err
	}
	c.backend = backend
	return nil
}

// useRegion settles on a region that was found later.
func (c *cloud) useRegion(ctx context.Context, a *app, region string) error {
	if c.config.Region == region {
		return nil
	}
	c.config.Region = region
	return errors.Join(c.backend.Close(), c.open(ctx, a))
}

func (c *cloud) googleOptions(o *cloudrun.Options) error {
	ts := c.creds.TokenSource()
	o.ClientOptions = []option.ClientOption{option.WithTokenSource(ts)}
	var base http.RoundTripper
	if q := c.creds.QuotaProject; q != "" {
		o.ClientOptions = append(o.ClientOptions, option.WithQuotaProject(q))
		base = quotaTransport(q)
	}
	o.REST = &http.Client{Transport: &oauth2.Transport{Source: ts, Base: base}, Timeout: time.Minute}
	o.RESTURL = "https://run.googleapis.com"
	if e := c.config.RunEndpoint; e != "" {
		host, ok := strings.CutPrefix(strings.TrimSuffix(e, "/"), "https://")
		if !ok || host == "" || strings.Contains(host, "/") {
			return withHints(fmt.Errorf("the endpoint %s (api_endpoint_overrides/run) is not https://HOST/, and a token would go there", e),
				"gcloud config unset api_endpoint_overrides/run", "export RUN_EMULATOR_HOST=HOST:PORT # for an emulator")
		}
		o.RESTURL = "https://" + host
		if !strings.Contains(host, ":") {
			host += ":443"
		}
		o.ClientOptions = append(o.ClientOptions, option.WithEndpoint(host))
	}
	return nil
}

// quotaTransport bills requests to a project, as gRPC's option does.
type quotaTransport string

func (q quotaTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Goog-User-Project", string(q))
	return http.DefaultTransport.RoundTrip(r)
}

// emulatorOptions talks plain text to a local process, with the tokens that
// its own metadata server made and no others.
func (c *cloud) emulatorOptions(o *cloudrun.Options) {
	ts := c.creds.TokenSource()
	dial := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	transport := http.DefaultTransport
	if ts != nil {
		dial = append(dial, grpc.WithPerRPCCredentials(plainToken{ts}))
		transport = &oauth2.Transport{Source: ts}
	}
	o.ClientOptions = []option.ClientOption{option.WithEndpoint(c.emulator), option.WithoutAuthentication()}
	for _, d := range dial {
		o.ClientOptions = append(o.ClientOptions, option.WithGRPCDialOption(d))
	}
	o.REST = &http.Client{Transport: transport, Timeout: time.Minute}
	o.RESTURL = "http://" + c.emulator
	o.API = func(string) string { return o.RESTURL } // the emulator is all of Google's APIs
	o.Logs = func(ctx context.Context, logURI string) ([]string, error) {
		return tailLog(ctx, o.REST, logURI)
	}
}

// plainToken sends an access token over a connection without TLS, which
// grpc's own refuses: the emulator is a process of this machine.
type plainToken struct{ source oauth2.TokenSource }

func (p plainToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	t, err := p.source.Token()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + t.AccessToken}, nil
}

func (plainToken) RequireTransportSecurity() bool { return false }

// tailLog reads the last lines of a log that the emulator keeps.
func tailLog(ctx context.Context, client *http.Client, uri string) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading the log: %s", resp.Status)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[max(0, len(lines)-10):], nil
}

// keychain authenticates to registries: Google's with our access token, others
// as docker is logged in, and those of this machine not at all.
func (c *cloud) keychain() authn.Keychain {
	return authn.NewMultiKeychain(googleKeychain{c.creds}, authn.DefaultKeychain)
}

type googleKeychain struct{ creds *gcloud.Credentials }

func (k googleKeychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	host := r.RegistryStr()
	google := host == "gcr.io" || strings.HasSuffix(host, ".gcr.io") || strings.HasSuffix(host, ".pkg.dev")
	if !google || k.creds.Kind == gcloud.KindAnonymous {
		return authn.Anonymous, nil
	}
	return tokenAuthenticator(k), nil
}

// tokenAuthenticator logs in as Google's registries want it: the user name
// oauth2accesstoken with the token as the password.
type tokenAuthenticator struct{ creds *gcloud.Credentials }

func (t tokenAuthenticator) Authorization() (*authn.AuthConfig, error) {
	token, err := t.creds.AccessToken(context.Background())
	if err != nil {
		return nil, err
	}
	return &authn.AuthConfig{Username: "oauth2accesstoken", Password: token}, nil
}

// key is this user's SSH key.
func (a *app) key() (ssh.Signer, error) {
	dir, err := a.configDir()
	if err != nil {
		return nil, err
	}
	return userKey(dir)
}

// agentImage is where releases of cloudssh publish the image that a sidecar
// copies the agent from.
func agentImage(version string) string {
	return images.AgentRepository + ":" + strings.TrimPrefix(version, "v")
}

// parseImage reads an image reference the user gave.
func parseImage(ref string) (name.Reference, error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return nil, usagef("image %q: %w", ref, err)
	}
	return r, nil
}
