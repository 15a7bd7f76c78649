package emulator

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestPagesSurviveChanges: what is added or removed between two pages neither hides nor repeats the others.
func TestPagesSurviveChanges(t *testing.T) {
	key := func(s string) string { return s }
	less := func(a, b string) bool { return a < b }
	first, token, err := page([]string{"b", "d", "f", "h"}, 2, "", "q", key, less)
	if err != nil || !slices.Equal(first, []string{"b", "d"}) {
		t.Fatalf("first page %v, %v", first, err)
	}
	rest, token2, err := page([]string{"a", "b", "e", "h"}, 2, token, "q", key, less)
	if err != nil || !slices.Equal(rest, []string{"e", "h"}) || token2 != "" {
		t.Errorf("second page %v, %q, %v", rest, token2, err)
	}
	if _, _, err := page([]string{"a"}, 2, token, "other", key, less); err == nil {
		t.Error("a token of another query was taken")
	}
}

func TestLabelSelector(t *testing.T) {
	labels := map[string]string{"env": "prod", "tier": "web"}
	for selector, want := range map[string]bool{
		"": true, "env=prod": true, "env==prod": true, "env=dev": false, "env!=dev": true, "env!=prod": false, "zone!=a": true,
		"env": true, "!env": false, "zone": false, "!zone": true, "env=prod,tier=web": true, "env=prod,tier=db": false,
		"env in (dev, prod)": true, "env notin (dev,prod)": false, "zone notin (a)": true, "env in (dev),tier": false, "empty=": false,
	} {
		match, err := parseLabelSelector(selector)
		if err != nil {
			t.Errorf("%q: %v", selector, err)
			continue
		}
		if got := match(labels); got != want {
			t.Errorf("%q = %v, want %v", selector, got, want)
		}
	}
	for _, selector := range []string{"a b", "a in b", "=x", ",", "a,,b", "a in (b"} {
		if _, err := parseLabelSelector(selector); err == nil {
			t.Errorf("%q was taken", selector)
		}
	}
}

func FuzzLabelSelector(f *testing.F) {
	f.Add("a=b,c in (d,e),!f")
	f.Fuzz(func(_ *testing.T, selector string) {
		if match, err := parseLabelSelector(selector); err == nil {
			match(map[string]string{"a": "b"})
		}
	})
}

func TestSplitVerb(t *testing.T) {
	for path, want := range map[string]string{
		"/v2/p/s:getIamPolicy": "/v2/p/s/:getIamPolicy", "/v2/p/s": "/v2/p/s", "/v2/a:b/s": "/v2/a:b/s", "/v2/:x": "/v2/:x",
	} {
		if got := splitVerb(path); got != want {
			t.Errorf("splitVerb(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestReservedPath(t *testing.T) {
	for path, want := range map[string]bool{
		"/healthz": true, "/eventlog": true, "/_ah/x": true, "/_ah": true,
		"/": false, "/quiz": false, "/a/healthz": false, "/eventlog/x": false, "/cloudssh/v1/stream": false,
	} {
		if got := reservedPath(path); got != want {
			t.Errorf("reservedPath(%q) = %v, want %v", path, got, want)
		}
	}
}

func TestProjectNumber(t *testing.T) {
	a, b := projectNumber("cloudssh-demo"), projectNumber("other")
	if len(a) != 12 || len(b) != 12 || a == b || a != projectNumber("cloudssh-demo") {
		t.Errorf("numbers %s and %s", a, b)
	}
}

// TestMerge: an update touches what clients may set and nothing else.
func TestMerge(t *testing.T) {
	current := &runpb.Service{Name: "n", Uid: "u", Description: "old", Labels: map[string]string{"a": "b"}, Uri: "x", Etag: "e"}
	got := merge(current, &runpb.Service{Name: "other", Uid: "forged", Description: "new", Uri: "forged", Etag: "forged"})
	if got.GetName() != "n" || got.GetUid() != "u" || got.GetUri() != "x" || got.GetEtag() != "e" {
		t.Errorf("output-only fields were taken from the request: %v", got)
	}
	if got.GetDescription() != "new" || got.GetLabels() != nil {
		t.Errorf("fields of the request were not taken: %v", got)
	}
	if current.GetDescription() != "old" {
		t.Error("the current service was changed in place")
	}
}

// cancelling cancels a context when a manifest has been asked for.
type cancelling struct{ cancel context.CancelFunc }

func (c cancelling) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if strings.Contains(r.URL.Path, "/manifests/") {
		c.cancel()
	}
	return resp, err
}

// TestCancelledPullsAreNotKept: the layers of an image can only be read under the context that read its manifest.
func TestCancelledPullsAreNotKept(t *testing.T) {
	s := httptest.NewServer(newRegistry("", Faults{}))
	defer s.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(s.URL, "http://") + "/demo/web:latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, empty.Image); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	im := newImages(t.Context(), cancelling{cancel})
	if _, _, err := im.fetch(ctx, ref.String()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if len(im.imported) > 0 {
		t.Errorf("kept: %v", im.imported)
	}
}
