package main

import (
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestLayoutAndPush(t *testing.T) {
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	out := filepath.Join(t.TempDir(), "image")
	for range 2 { // the second one replaces the first
		if err := run(t.Context(), "v0.0.1", []string{runtime.GOARCH}, out, host+"/tools/cloudssh-agent"); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "v0.0.1" {
		t.Fatalf("the layout's index: %+v, %v", m, err)
	}
	ref, err := name.ParseReference(host + "/tools/cloudssh-agent:v0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if digest, err := pushed.Digest(); err != nil || digest != m.Manifests[0].Digest {
		t.Errorf("pushed %s, %v; want %s", digest, err, m.Manifests[0].Digest)
	}
}

func TestReference(t *testing.T) {
	for text, want := range map[string]string{
		"europe-docker.pkg.dev/p/tools/cloudssh-agent":   "europe-docker.pkg.dev/p/tools/cloudssh-agent:v1",
		"europe-docker.pkg.dev/p/tools/cloudssh-agent:x": "europe-docker.pkg.dev/p/tools/cloudssh-agent:x",
		"localhost:5000/a": "localhost:5000/a:v1",
	} {
		got, err := reference(text, "v1")
		if err != nil || got.String() != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := reference("A B", "v1"); err == nil {
		t.Error("not a reference")
	}
	if err := run(t.Context(), "", nil, "", ""); err == nil {
		t.Error("no version")
	}
}
