//go:build linux

package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const testResource = "projects/p/locations/us-central1/services/hello-ssh"

// platform is a metadata server and an Admin API that answers deletions so.
func platform(t *testing.T, code int, body string) (d *selfDeleter, deletions *atomic.Int32) {
	t.Helper()
	deletions = new(atomic.Int32)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+tokenPath, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Write([]byte(`{"access_token":"secret","expires_in":3599,"token_type":"Bearer"}`))
	})
	mux.HandleFunc("DELETE /v2/"+testResource, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer secret" {
			deletions.Add(1)
		}
		w.WriteHeader(code)
		w.Write([]byte(body))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return &selfDeleter{client: s.Client(), metadata: s.URL, api: s.URL, resource: testResource}, deletions
}

func TestDeleteSelf(t *testing.T) {
	d, deletions := platform(t, http.StatusOK, `{"name":"operations/1"}`)
	if err := d.delete(t.Context()); err != nil || deletions.Load() != 1 {
		t.Errorf("%v, %d deletions", err, deletions.Load())
	}
	d, _ = platform(t, http.StatusForbidden, `{"error":{"code":403,"message":"Permission 'run.services.delete' denied"}}`)
	err := d.delete(t.Context())
	if err == nil || !strings.Contains(err.Error(), "403 Forbidden: Permission 'run.services.delete' denied") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	d.metadata = "http://127.0.0.1:1"
	if err := d.delete(t.Context()); err == nil || !strings.Contains(err.Error(), "getting a token") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.delete(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A token goes to Google, and to the emulator that this instance runs in; never
// to what the service's own environment names.
func TestWhereTokensGo(t *testing.T) {
	for value, want := range map[string]string{
		"":                         runAPI,
		"169.254.169.254:8085":     "http://169.254.169.254:8085",
		"127.0.0.1:8085":           runAPI,
		"evil.example:80":          runAPI,
		"169.254.169.254":          runAPI,
		"169.254.169.254:":         runAPI,
		"169.254.169.254.evil:80":  runAPI,
		"x@169.254.169.254:80":     runAPI,
		"169.254.169.254:80@evil":  runAPI,
		"169.254.169.254:80/@evil": runAPI,
		"[::1]:80":                 runAPI,
	} {
		d := newSelfDeleter(Settings{Resource: testResource}, []string{emulatorVariable + "=" + value})
		if d.api != want {
			t.Errorf("with %q the API is %s", value, d.api)
		}
		kept := strings.Contains(strings.Join(sessionEnv([]string{emulatorVariable + "=" + value}), "\n"), emulatorVariable+"="+value)
		if kept != (want == runAPI) {
			t.Errorf("sessions see %q: %v", value, kept)
		}
	}
	if newSelfDeleter(Settings{}, nil) != nil {
		t.Error("a twin without a name deletes something")
	}
}

func TestSelfDeletionAtTheLease(t *testing.T) {
	soon := func() int64 { return time.Now().Add(time.Second).Unix() }
	for name, tc := range map[string]struct {
		settings  Settings
		code      int
		deletions int32
		log       string
	}{
		"lease":          {Settings{Expires: soon()}, http.StatusOK, 1, "the agent deleted its twin"},
		"lease, refused": {Settings{Expires: soon()}, http.StatusForbidden, 1, "the agent could not delete its twin"},
		"never reached":  {Settings{Grace: 1}, http.StatusOK, 0, "nobody connected within 1s"},
		"kept instance":  {Settings{Grace: 1, MinInstances: 1}, http.StatusOK, 1, "the agent deleted its twin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			self, deletions := platform(t, tc.code, "{}")
			signer, _ := newSigner(t)
			logs := newSyncBuffer()
			settings := tc.settings
			settings.AuthorizedKeys, settings.Resource = []string{string(marshalKey(signer))}, testResource
			q := &queue{done: make(chan struct{})}
			if err := Serve(t.Context(), q, Config{Settings: settings, HostKey: signer, Logger: slog.New(slog.NewTextHandler(logs, nil)), self: self}); err != nil {
				t.Fatal(err)
			}
			if got := deletions.Load(); got != tc.deletions || !strings.Contains(logs.String(), tc.log) {
				t.Errorf("%d deletions; log:\n%s", got, logs)
			}
		})
	}
}

func TestSettingsNames(t *testing.T) {
	signer, _ := newSigner(t)
	key := strings.TrimSpace(string(marshalKey(signer)))
	for resource, ok := range map[string]bool{
		"": true, testResource: true, "projects/example.com:p/locations/r/services/s": true,
		"projects/p/locations/r/services/s/revisions/x": false, "projects/p/../r": false, "http://evil/": false, "x": false,
	} {
		_, err := ParseSettings(`{"version":1,"authorized_keys":["` + key + `"],"resource":"` + resource + `"}`)
		if (err == nil) != ok {
			t.Errorf("%q: %v", resource, err)
		}
	}
}
