package identity

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2/google"

	"cloud.google.com/go/auth/credentials/idtoken"
	cloudmetadata "cloud.google.com/go/compute/metadata"
)

func parseKey(t *testing.T, text []byte) *rsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}

func metadataConfig(i *Issuer) MetadataConfig {
	return MetadataConfig{
		Issuer: i, Project: "demo", ProjectNumber: "123456789012", Region: "us-central1",
		InstanceID: "00a1", ServiceAccount: robot,
	}
}

// onMetadata points Google's libraries at a metadata server of ours.
func onMetadata(t *testing.T) *Issuer {
	t.Helper()
	i, _ := newRealIssuer(t)
	s := httptest.NewServer(MetadataHandler(metadataConfig(i)))
	t.Cleanup(s.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(s.URL, "http://"))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir()) // no credentials of this machine
	return i
}

func TestMetadataLibrary(t *testing.T) {
	onMetadata(t)
	ctx := t.Context()
	m := cloudmetadata.NewClient(nil)
	for _, test := range []struct {
		name string
		get  func() (string, error)
		want string
	}{
		{"project", func() (string, error) { return m.ProjectIDWithContext(ctx) }, "demo"},
		{"number", func() (string, error) { return m.NumericProjectIDWithContext(ctx) }, "123456789012"},
		{"instance", func() (string, error) { return m.InstanceIDWithContext(ctx) }, "00a1"},
		{"zone", func() (string, error) { return m.ZoneWithContext(ctx) }, "us-central1-1"},
		{"email", func() (string, error) { return m.EmailWithContext(ctx, "") }, robot},
		{"email by email", func() (string, error) { return m.EmailWithContext(ctx, robot) }, robot},
		{"region", func() (string, error) { return m.GetWithContext(ctx, "instance/region") }, "projects/123456789012/regions/us-central1"},
		{"universe", func() (string, error) { return m.GetWithContext(ctx, "universe/universe-domain") }, "googleapis.com"},
		{"aliases", func() (string, error) {
			return m.GetWithContext(ctx, "instance/service-accounts/default/aliases")
		}, "default\n"},
		{"accounts", func() (string, error) { return m.GetWithContext(ctx, "instance/service-accounts/") }, robot + "/\ndefault/\n"},
		{"account", func() (string, error) { return m.GetWithContext(ctx, "instance/service-accounts/default/") }, "aliases\nemail\nidentity\nscopes\ntoken\n"},
	} {
		if got, err := test.get(); err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
	}
	scopes, err := m.ScopesWithContext(ctx, "default")
	if err != nil || !slices.Contains(scopes, scope) {
		t.Errorf("scopes %q, %v", scopes, err)
	}
	if !cloudmetadata.OnGCEWithContext(ctx) {
		t.Error("not recognised as a metadata server")
	}
	_, err = m.GetWithContext(ctx, "instance/disks/")
	if missing := cloudmetadata.NotDefinedError(""); !errors.As(err, &missing) {
		t.Errorf("instance/disks: %v, want NotDefinedError", err)
	}
}

// TestDefaultCredentials: application default credentials find the metadata
// server, and both kinds of token come from it.
func TestDefaultCredentials(t *testing.T) {
	i := onMetadata(t)
	creds, err := google.FindDefaultCredentials(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	token, err := creds.TokenSource.Token()
	if err != nil {
		t.Fatal(err)
	}
	if email, err := i.VerifyAccess(token.AccessToken); err != nil || email != robot {
		t.Errorf("access token of %q, %v", email, err)
	}
	if left := time.Until(token.Expiry); left < 59*time.Minute || left > time.Hour {
		t.Errorf("access token expires in %v, want just under an hour", left)
	}
	for _, format := range []idtoken.ComputeTokenFormat{idtoken.ComputeTokenFormatStandard, idtoken.ComputeTokenFormatFull} {
		ids, err := idtoken.NewCredentials(&idtoken.Options{Audience: audience, ComputeTokenFormat: format})
		if err != nil {
			t.Fatal(err)
		}
		id, err := ids.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c, err := i.VerifyID(id.Value); err != nil || c.Email != robot || c.Audience != audience {
			t.Errorf("format %v: ID token %+v, %v", format, c, err)
		}
		payload, err := idtoken.ParsePayload(id.Value)
		if err != nil {
			t.Fatal(err)
		}
		if _, full := payload.Claims["google"]; full != (format == idtoken.ComputeTokenFormatFull) {
			t.Errorf("format %v: google claim present is %v", format, full)
		}
	}
}

func get(t *testing.T, h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestMetadataGuards(t *testing.T) {
	i, _ := newIssuer(t)
	h := MetadataHandler(metadataConfig(i))
	const (
		token    = "/computeMetadata/v1/instance/service-accounts/default/token"
		identity = "/computeMetadata/v1/instance/service-accounts/default/identity"
	)
	with := []string{flavorHeader, flavor}
	for _, test := range []struct {
		name, method, path string
		header             []string
		want               int
	}{
		{"probe", "GET", "/", nil, 200},
		{"with header", "GET", token, with, 200},
		{"head", "HEAD", token, with, 200},
		{"no header", "GET", token, nil, 403},
		{"other flavour", "GET", token, []string{flavorHeader, "Azure"}, 403},
		{"forwarded", "GET", token, append(slices.Clone(with), "X-Forwarded-For", "10.0.0.1"), 403},
		{"forwarded probe", "GET", "/", []string{"X-Forwarded-For", "10.0.0.1"}, 403},
		{"post", "POST", token, with, 405},
		{"unknown", "GET", "/computeMetadata/v1/secrets", with, 404},
		{"below a value", "GET", "/computeMetadata/v1/project/project-id/x", with, 404},
		{"old version", "GET", "/computeMetadata/v1beta1/project/project-id", with, 404},
		{"no audience", "GET", identity, with, 400},
		{"directory", "GET", "/computeMetadata/v1", with, 301},
	} {
		w := get(t, h, test.method, test.path, test.header...)
		if w.Code != test.want {
			t.Errorf("%s: status %d, want %d (%s)", test.name, w.Code, test.want, w.Body)
		}
		if got := w.Header().Get(flavorHeader); got != flavor {
			t.Errorf("%s: %s %q", test.name, flavorHeader, got)
		}
		if w.Code != 200 && strings.Contains(w.Body.String(), "ya29.") {
			t.Errorf("%s: a token in a refusal", test.name)
		}
	}
	if to := get(t, h, "GET", "/computeMetadata/v1/instance?recursive=true", with...).Header().Get("Location"); to != "/computeMetadata/v1/instance/?recursive=true" {
		t.Errorf("redirected to %q", to)
	}
}

func TestMetadataRecursive(t *testing.T) {
	i, _ := newIssuer(t)
	h := MetadataHandler(metadataConfig(i))
	w := get(t, h, "GET", "/computeMetadata/v1/?recursive=true&alt=json", flavorHeader, flavor)
	var got any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	account := map[string]any{
		"aliases": []any{"default"}, "email": robot,
		"scopes": []any{scope, "https://www.googleapis.com/auth/userinfo.email", "openid"},
	}
	want := map[string]any{
		"project": map[string]any{"projectId": "demo", "numericProjectId": 123456789012.0, "attributes": map[string]any{}},
		"instance": map[string]any{
			"id": "00a1", "attributes": map[string]any{},
			"region":          "projects/123456789012/regions/us-central1",
			"zone":            "projects/123456789012/zones/us-central1-1",
			"serviceAccounts": map[string]any{"default": account, robot: account},
		},
		"universe": map[string]any{"universeDomain": "googleapis.com"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("recursive (-want +got):\n%s", diff)
	}
	text := get(t, h, "GET", "/computeMetadata/v1/project/?recursive=true&alt=text", flavorHeader, flavor)
	if want := "numeric-project-id 123456789012\nproject-id demo\n"; text.Body.String() != want {
		t.Errorf("recursive text %q, want %q", text.Body, want)
	}
	names := get(t, h, "GET", "/computeMetadata/v1/project/?alt=json", flavorHeader, flavor)
	if want := `["attributes/","numeric-project-id","project-id"]` + "\n"; names.Body.String() != want {
		t.Errorf("names %q, want %q", names.Body, want)
	}
}

func TestMetadataWithoutIdentity(t *testing.T) {
	i, _ := newIssuer(t)
	cfg := metadataConfig(i)
	cfg.ServiceAccount = ""
	h := MetadataHandler(cfg)
	if w := get(t, h, "GET", "/computeMetadata/v1/instance/service-accounts/default/token", flavorHeader, flavor); w.Code != 404 {
		t.Errorf("token without an account: %d", w.Code)
	}
}
