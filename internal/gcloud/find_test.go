package gcloud

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// secret marks everything that must never be shown.
const secret = "s3cr3t"

// TestMain makes the test binary a gcloud when it is called by that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "gcloud" {
		os.Exit(fakeGcloud(os.Args[1:])) //nolint:forbidigo // this process is no test
	}
	m.Run()
}

// fakeGcloud does what a recorded gcloud did.
func fakeGcloud(args []string) int {
	log, err := os.OpenFile(os.Getenv("FAKE_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	_, impersonates := os.LookupEnv("CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT")
	fmt.Fprintln(log, strings.Join(args, " "), impersonates)
	if slices.Contains(args, "print-identity-token") {
		fmt.Fprintln(os.Stdout, jwt("sa", args[2], time.Now().Add(time.Hour)))
		return 0
	}
	switch os.Getenv("FAKE_MODE") {
	case "expired":
		fmt.Fprintln(os.Stdout, secret)
		fmt.Fprintln(os.Stderr, "WARNING: something\nERROR: (gcloud.config.config-helper) There was a problem refreshing your current auth tokens: Reauthentication required.\nPlease run:\n\n  $ gcloud auth login")
		return 1
	case "garbage":
		fmt.Fprintln(os.Stdout, "{"+secret)
		return 0
	}
	account, expiry := os.Getenv("FAKE_ACCOUNT"), time.Now().Add(time.Hour)
	if os.Getenv("FAKE_MODE") == "short" {
		expiry = time.Now().Add(time.Minute)
	}
	fmt.Fprintf(os.Stdout, `{"configuration":{"active_configuration":"default","properties":{"core":{"account":%q,"project":"p"}}},
		"credential":{"access_token":%q,"id_token":%q,"token_expiry":%q},"sentinels":{"config_sentinel":"/x"}}`,
		account, secret+"-gcloud", jwt(account, "32555940559.apps.googleusercontent.com", expiry), expiry.UTC().Format(time.RFC3339))
	return 0
}

// jwt makes something in the form of an ID token.
func jwt(email, audience string, expires time.Time) string {
	payload, _ := json.Marshal(map[string]any{"email": email, "aud": audience, "exp": expires.Unix()})
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(payload) + "." + secret
}

// audienceOf reads back what jwt wrote.
func audienceOf(token string) string {
	var c struct {
		Aud string `json:"aud"`
	}
	if parts := strings.Split(token, "."); len(parts) == 3 {
		b, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(b, &c)
	}
	return c.Aud
}

// google answers for every Google endpoint that credentials talk to.
type google struct {
	*httptest.Server
	fail bool // refuse everything

	mu   sync.Mutex
	seen []string // path and bearer of each request
}

func newGoogle(t *testing.T) *google {
	t.Helper()
	g := new(google)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", g.token)
	mux.HandleFunc("POST /sts", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"access_token": secret + "-sts", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 3600})
	})
	mux.HandleFunc("POST /v1/projects/-/serviceAccounts/{call}", g.iam)
	meta := "GET /computeMetadata/v1/"
	mux.HandleFunc(meta+"instance/service-accounts/default/email", text("vm@p.iam.gserviceaccount.com"))
	mux.HandleFunc(meta+"project/project-id", text("vm-project"))
	mux.HandleFunc(meta+"instance/service-accounts/default/token", text(`{"access_token":"`+secret+`-vm","expires_in":3599,"token_type":"Bearer"}`))
	mux.HandleFunc(meta+"instance/service-accounts/default/identity", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, jwt("vm", r.FormValue("audience"), time.Now().Add(time.Hour)))
	})
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.seen = append(g.seen, r.URL.Path+" "+r.Header.Get("Authorization")+" "+r.Header.Get("X-Goog-User-Project"))
		g.mu.Unlock()
		if g.fail {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"Token has been expired or revoked.","leak":%q}`, secret)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// token is the OAuth token endpoint.
func (g *google) token(w http.ResponseWriter, r *http.Request) {
	hour := time.Now().Add(time.Hour)
	if r.FormValue("grant_type") == "refresh_token" {
		reply(w, map[string]any{"access_token": secret + "-user", "expires_in": 3599, "token_type": "Bearer", "id_token": jwt("jane@example.com", "764086051850", hour)})
		return
	}
	var claims struct {
		Target string `json:"target_audience"`
	}
	b, _ := base64.RawURLEncoding.DecodeString(strings.Split(r.FormValue("assertion"), ".")[1])
	_ = json.Unmarshal(b, &claims)
	if claims.Target != "" {
		reply(w, map[string]any{"id_token": jwt("key", claims.Target, hour)})
		return
	}
	reply(w, map[string]any{"access_token": secret + "-key", "expires_in": 3599, "token_type": "Bearer"})
}

// iam is the IAM Credentials API.
func (g *google) iam(w http.ResponseWriter, r *http.Request) {
	account, call, _ := strings.Cut(r.PathValue("call"), ":")
	var body struct {
		Audience  string   `json:"audience"`
		Delegates []string `json:"delegates"`
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	hour := time.Now().Add(time.Hour)
	if call == "generateIdToken" {
		reply(w, map[string]any{"token": jwt(account+strings.Join(body.Delegates, ""), body.Audience, hour)})
		return
	}
	reply(w, map[string]any{"accessToken": secret + "-" + account, "expireTime": hour.UTC().Format(time.RFC3339)})
}

// world is the surroundings of one test.
type world struct {
	*google
	t   *testing.T
	env environment
	dir string
	log string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake gcloud is a symbolic link")
	}
	w := &world{google: newGoogle(t), t: t, dir: t.TempDir(), log: filepath.Join(t.TempDir(), "log")}
	w.env = environment{"CLOUDSDK_CONFIG": w.dir, "NO_GCE_CHECK": "true"}
	t.Setenv("FAKE_LOG", w.log)
	return w
}

// install puts a gcloud into the PATH, logged in to account.
func (w *world) install(account, mode string) {
	t := w.t
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "gcloud")); err != nil {
		t.Fatal(err)
	}
	w.env["PATH"] = bin
	t.Setenv("FAKE_ACCOUNT", account)
	t.Setenv("FAKE_MODE", mode)
	write(t, filepath.Join(w.dir, "configurations/config_default"), "[core]\naccount = "+account+"\n")
}

// calls are the command lines that gcloud was called with.
func (w *world) calls() []string {
	t := w.t
	t.Helper()
	b, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func (w *world) find(f Flags) (*Credentials, error) {
	t := w.t
	t.Helper()
	cfg, err := Load(t.Context(), f, w.env.get)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	t.Cleanup(func() {
		if strings.Contains(log.String(), secret) {
			t.Errorf("a secret was logged: %s", log.String())
		}
	})
	return Find(t.Context(), cfg, Options{
		Env: w.env.get, Client: &http.Client{Transport: redirect{w.Listener.Addr().String(), http.DefaultTransport}},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
}

// adc writes a credentials file to the well-known place.
func (w *world) adc(v map[string]any) string {
	t := w.t
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(w.dir, "application_default_credentials.json")
	write(t, name, string(b))
	return name
}

func userFile() map[string]any {
	return map[string]any{
		"type": "authorized_user", "client_id": "764086051850", "client_secret": secret,
		"refresh_token": secret, "quota_project_id": "quota",
	}
}

func (w *world) keyFile() map[string]any {
	t := w.t
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"type": "service_account", "client_email": "robot@p.iam.gserviceaccount.com", "project_id": "key-project",
		"private_key_id": "1", "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri": w.URL + "/token",
	}
}

func (w *world) externalFile(impersonates string) map[string]any {
	t := w.t
	t.Helper()
	subject := filepath.Join(t.TempDir(), "subject")
	write(t, subject, secret)
	v := map[string]any{
		"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": w.URL + "/sts",
		"credential_source": map[string]any{"file": subject},
	}
	if impersonates != "" {
		v["service_account_impersonation_url"] = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + impersonates + ":generateAccessToken"
	}
	return v
}

const service = "https://hello-ssh-1.us-central1.run.app"

// TestKinds gets tokens of every kind of credentials.
func TestKinds(t *testing.T) {
	const robot, target = "robot@p.iam.gserviceaccount.com", "target@p.iam.gserviceaccount.com"
	for _, tt := range []struct {
		name          string
		flags         Flags
		set           func(*world)
		shows         string
		access, aud   string
		project, bill string
	}{
		{
			name: "gcloud's login", shows: "jane@example.com (gcloud)", access: "-gcloud", aud: "32555940559.apps.googleusercontent.com",
			set: func(w *world) { w.install("jane@example.com", "") },
		},
		{
			name: "a service account in gcloud", shows: robot + " (gcloud)", access: "-gcloud", aud: "--audiences=" + service,
			set: func(w *world) { w.install(robot, "") },
		},
		{
			name: "service account key", shows: robot + " (service account key)", access: "-key", aud: service, project: "key-project",
			set: func(w *world) {
				w.env["GOOGLE_APPLICATION_CREDENTIALS"] = w.adc(w.keyFile())
				w.install("jane@example.com", "")
			},
		},
		{
			name: "user ADC", shows: "jane@example.com (application default credentials)", access: "-user", aud: "764086051850", bill: "quota",
			set: func(w *world) { w.adc(userFile()) },
		},
		{
			name: "metadata server", shows: "vm@p.iam.gserviceaccount.com (metadata server)", access: "-vm", aud: service, project: "vm-project",
			set: func(w *world) { w.env["GCE_METADATA_HOST"] = w.Listener.Addr().String() },
		},
		{
			name: "federation with impersonation", shows: robot + " (workload identity federation)", access: "-" + robot, aud: service,
			set: func(w *world) { w.adc(w.externalFile(robot)) },
		},
		{
			name: "impersonating ADC", shows: robot + " (impersonation)", access: "-" + robot, aud: service,
			set: func(w *world) {
				w.adc(map[string]any{
					"type": "impersonated_service_account", "source_credentials": userFile(),
					"service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + robot + ":generateAccessToken",
				})
			},
		},
		{
			name: "impersonation by gcloud's login", flags: Flags{Impersonate: target}, shows: target + " (impersonation)",
			access: "-" + target, aud: service,
			set: func(w *world) { w.install("jane@example.com", "") },
		},
		{
			name: "impersonation by federated credentials", flags: Flags{Impersonate: target}, shows: target + " (impersonation)",
			access: "-" + target, aud: service,
			set: func(w *world) { w.adc(w.externalFile("")) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.set(w)
			c, err := w.find(tt.flags)
			if err != nil {
				t.Fatal(err)
			}
			if c.String() != tt.shows || c.Project != tt.project || c.QuotaProject != tt.bill {
				t.Errorf("got %s, project %q, quota %q", c, c.Project, c.QuotaProject)
			}
			if access, err := c.AccessToken(t.Context()); err != nil || access != secret+tt.access {
				t.Errorf("access token %q, %v", access, err)
			}
			id, err := c.IDToken(t.Context(), service)
			if err != nil || audienceOf(id) != tt.aud {
				t.Errorf("ID token for %q, %v", audienceOf(id), err)
			}
			if o, err := c.TokenSource().Token(); err != nil || o.AccessToken != secret+tt.access || !o.Valid() {
				t.Errorf("token source: %v", err)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	w := newWorld(t)
	expect := func(f Flags, want Kind) {
		t.Helper()
		c, err := w.find(f)
		if err != nil || c.Kind != want {
			t.Errorf("got %v, %v; want %s", c, err, want)
		}
	}
	w.env["GCE_METADATA_HOST"] = w.Listener.Addr().String()
	expect(Flags{}, KindMetadata)
	w.adc(userFile())
	expect(Flags{}, KindUserADC)
	write(t, filepath.Join(w.dir, "configurations/config_default"), "[core]\naccount = jane@example.com\n")
	expect(Flags{}, KindUserADC) // gcloud is not installed
	w.install("jane@example.com", "")
	expect(Flags{}, KindGcloud)
	key := filepath.Join(t.TempDir(), "key.json")
	b, err := json.Marshal(w.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, string(b))
	w.env["GOOGLE_APPLICATION_CREDENTIALS"] = key
	expect(Flags{}, KindServiceAccount)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, secret+"\n")
	w.env["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = token
	expect(Flags{}, KindTokenFile)
	expect(Flags{Account: "joe@example.com"}, KindGcloud)
	if calls := w.calls(); !strings.Contains(calls[len(calls)-1], "config config-helper --format=json --min-expiry=10m --account=joe@example.com true") {
		t.Errorf("gcloud was called with %q", calls)
	}
	expect(Flags{Account: "joe@example.com", Impersonate: "x@p"}, KindImpersonated)
}

func TestGcloudIsAskedOnce(t *testing.T) {
	for mode, want := range map[string]int{"": 1, "short": 4} {
		w := newWorld(t)
		w.install("jane@example.com", mode)
		c, err := w.find(Flags{})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := c.IDToken(t.Context(), service); err != nil {
				t.Fatal(err)
			}
		}
		if calls := w.calls(); len(calls) != want {
			t.Errorf("mode %q: gcloud was asked %d times, want %d", mode, len(calls), want)
		}
	}
}

func TestDelegationChain(t *testing.T) {
	w := newWorld(t)
	w.adc(userFile())
	c, err := w.find(Flags{Impersonate: "a@p, b@p,target@p"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.IDToken(t.Context(), service)
	if err != nil || claimsOf(id).Email != "target@pprojects/-/serviceAccounts/a@pprojects/-/serviceAccounts/b@p" {
		t.Errorf("got %q, %v", claimsOf(id).Email, err)
	}
	last := w.seen[len(w.seen)-1]
	if !strings.HasSuffix(last, "Bearer "+secret+"-user quota") {
		t.Errorf("the base's token or quota project is missing")
	}
}

// TestEmulator: real credentials must never reach it.
func TestEmulator(t *testing.T) {
	w := newWorld(t)
	w.install("jane@example.com", "")
	w.env["GOOGLE_APPLICATION_CREDENTIALS"] = w.adc(userFile())
	w.env["RUN_EMULATOR_HOST"] = w.Listener.Addr().String()
	c, err := w.find(Flags{Account: "jane@example.com"})
	if err != nil || c.String() != "anonymous" || c.TokenSource() != nil {
		t.Fatalf("got %v, %v", c, err)
	}
	access, err := c.AccessToken(t.Context())
	id, err2 := c.IDToken(t.Context(), service)
	if access != "" || id != "" || err != nil || err2 != nil {
		t.Errorf("anonymous tokens: %q %v, %q %v", access, err, id, err2)
	}
	for _, host := range []string{"169.254.169.254", "169.254.169.254:80", "metadata.google.internal", "[fd20:ce::254]:80"} {
		w.env["GCE_METADATA_HOST"] = host
		if c, err = w.find(Flags{}); err != nil || c.Kind != KindAnonymous {
			t.Errorf("%s was asked: %v, %v", host, c, err)
		}
	}
	w.env["GCE_METADATA_HOST"] = w.Listener.Addr().String()
	if c, err = w.find(Flags{}); err != nil || c.Kind != KindMetadata {
		t.Fatalf("got %v, %v", c, err)
	}
	if c, err = w.find(Flags{Impersonate: "target@p"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.IDToken(t.Context(), service); err != nil {
		t.Error(err)
	}
	write(t, filepath.Join(w.dir, "configurations/config_default"), "[auth]\nimpersonate_service_account = real@p\n")
	if c, err = w.find(Flags{}); err != nil || c.Kind != KindMetadata {
		t.Errorf("the user's own configuration was used: %v, %v", c, err)
	}
	if _, err := os.Stat(w.log); err == nil {
		t.Error("gcloud was asked")
	}
	for _, s := range w.seen {
		if strings.Contains(s, "-user") || strings.HasPrefix(s, "/token") {
			t.Errorf("real credentials were used: %s", s)
		}
	}
}

func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name, says, hint string
		flags            Flags
		set              func(*world)
	}{
		{
			name: "none", says: "no Google Cloud credentials found", hint: "cloudssh demo (works without an account)",
			set: func(*world) {},
		},
		{
			name: "login expired", says: "There was a problem refreshing your current auth tokens", hint: "gcloud auth login jane@example.com",
			set: func(w *world) { w.install("jane@example.com", "expired") },
		},
		{
			name: "gcloud prints garbage", says: "config-helper printed no JSON",
			set: func(w *world) { w.install("jane@example.com", "garbage") },
		},
		{
			name: "account without gcloud", says: "--account joe@example.com: gcloud is not in the PATH",
			hint:  "install gcloud (https://cloud.google.com/sdk/docs/install) and run `gcloud auth login`",
			flags: Flags{Account: "joe@example.com"}, set: func(*world) {},
		},
		{
			name: "revoked ADC", says: "invalid_grant: Token has been expired or revoked.", hint: "gcloud auth application-default login",
			set: func(w *world) { w.adc(userFile()); w.fail = true },
		},
		{
			name: "ADC that is no JSON", says: "it is no JSON",
			set: func(w *world) {
				write(w.t, filepath.Join(w.dir, "application_default_credentials.json"), secret)
			},
		},
		{
			name: "workforce ADC", says: "workforce credentials", hint: "gcloud auth login",
			set: func(w *world) {
				w.adc(map[string]any{"type": "external_account_authorized_user", "refresh_token": secret})
			},
		},
		{
			name: "unknown ADC", says: `credentials of type "gdch_service_account" are not supported`,
			set: func(w *world) { w.adc(map[string]any{"type": "gdch_service_account", "x": secret}) },
		},
		{
			name: "GOOGLE_APPLICATION_CREDENTIALS names nothing", says: "reading GOOGLE_APPLICATION_CREDENTIALS: open /nowhere",
			set: func(w *world) { w.env["GOOGLE_APPLICATION_CREDENTIALS"] = "/nowhere" },
		},
		{
			name: "empty token file", says: "is empty",
			set: func(w *world) {
				w.env["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = filepath.Join(w.dir, "token")
				write(w.t, filepath.Join(w.dir, "token"), "\n")
			},
		},
		{
			name: "stopped emulator", says: "asking the metadata server who we are", hint: "cloudssh emulator (is it still running? GCE_METADATA_HOST points at it)",
			set: func(w *world) {
				w.env["RUN_EMULATOR_HOST"], w.env["GCE_METADATA_HOST"] = "127.0.0.1:1", "127.0.0.1:1"
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.set(w)
			c, err := w.find(tt.flags)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, %v", c, err)
			}
			if tt.hint != "" && !slices.Contains(hints(err), tt.hint) {
				t.Errorf("hints are %q", hints(err))
			}
			if errors.Is(err, ErrNoCredentials) != (tt.name == "none") {
				t.Errorf("%v is mistaken for no credentials, or the reverse", err)
			}
			if shown := err.Error() + strings.Join(hints(err), ""); strings.Contains(shown, secret) {
				t.Errorf("a secret is shown: %s", shown)
			}
		})
	}
}

// TestTokenFailures are failures after credentials were found.
func TestTokenFailures(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		set        func(*world)
	}{
		{"access token file has no ID token", "gives no ID token", func(w *world) {
			w.env["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = filepath.Join(w.dir, "token")
			write(w.t, filepath.Join(w.dir, "token"), secret)
		}},
		{"federation without a service account", "have no ID tokens", func(w *world) { w.adc(w.externalFile("")) }},
		{"revoked key", "the token endpoint answered 400 Bad Request: invalid_grant", func(w *world) { w.adc(w.keyFile()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.set(w)
			c, err := w.find(Flags{})
			if err != nil {
				t.Fatal(err)
			}
			w.fail = true
			_, err = c.IDToken(t.Context(), service)
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCancelledHelper(t *testing.T) {
	w := newWorld(t)
	w.install("jane@example.com", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg, err := Load(ctx, Flags{}, w.env.get)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Find(ctx, cfg, Options{Env: w.env.get}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
