package inject_test

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cloudssh/cloudssh/internal/inject"
)

func repository(t *testing.T) name.Repository {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	repo, err := name.NewRepository(strings.TrimPrefix(srv.URL, "http://") + "/demo/app")
	must(t, err)
	return repo
}

// list is a manifest list with one image for each platform.
func list(t *testing.T, mt types.MediaType, images map[string]v1.Image) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, mt)
	for platform, img := range images {
		p, err := v1.ParsePlatform(platform)
		must(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
	}
	return index
}

func forArch(t *testing.T, img v1.Image, arch string) v1.Image {
	t.Helper()
	cfg, err := img.ConfigFile()
	must(t, err)
	cfg = cfg.DeepCopy()
	cfg.Architecture = arch
	img, err = mutate.ConfigFile(img, cfg)
	must(t, err)
	return img
}

func TestResolveImage(t *testing.T) {
	ref := repository(t).Tag("v1")
	base := dockerImage(t)
	must(t, remote.Write(ref, base))
	got, err := inject.Resolve(t.Context(), ref)
	must(t, err)
	sameDigest(t, got, base)
}

func TestResolveList(t *testing.T) {
	for _, mt := range []types.MediaType{types.OCIImageIndex, types.DockerManifestList} {
		t.Run(string(mt), func(t *testing.T) {
			ref := repository(t).Tag("v1")
			amd64 := ociImage(t)
			must(t, remote.WriteIndex(ref, list(t, mt, map[string]v1.Image{
				"linux/arm64/v8":  forArch(t, amd64, "arm64"),
				"linux/amd64":     amd64,
				"unknown/unknown": empty.Image,
			})))
			got, err := inject.Resolve(t.Context(), ref)
			must(t, err)
			sameDigest(t, got, amd64)
		})
	}
}

func TestResolveNamesPlatforms(t *testing.T) {
	ref := repository(t).Tag("v1")
	must(t, remote.WriteIndex(ref, list(t, types.OCIImageIndex, map[string]v1.Image{
		"linux/arm64":     forArch(t, ociImage(t), "arm64"),
		"unknown/unknown": empty.Image,
	})))
	_, err := inject.Resolve(t.Context(), ref)
	wantError(t, err, "no image for linux/amd64, only for linux/arm64")
	if strings.Contains(err.Error(), "unknown") {
		t.Errorf("attestations counted as images: %v", err)
	}
}

func TestResolveSingleForeignImage(t *testing.T) {
	ref := repository(t).Tag("v1")
	must(t, remote.Write(ref, forArch(t, dockerImage(t), "arm64")))
	_, err := inject.Resolve(t.Context(), ref)
	wantError(t, err, "is for linux/arm64; Cloud Run runs linux/amd64")
}

func TestResolveSchema1(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.Header().Set("Content-Type", string(types.DockerManifestSchema1Signed))
		_, _ = io.WriteString(w, `{"schemaVersion":1,"fsLayers":[]}`)
	}))
	t.Cleanup(srv.Close)
	ref, err := name.ParseReference(strings.TrimPrefix(srv.URL, "http://") + "/old/app:v1")
	must(t, err)
	_, err = inject.Resolve(t.Context(), ref)
	wantError(t, err, "schema 1")
}

// The injected image must be writable beside its base: only the new layer, the config and the manifest move.
func TestWriteBesideBase(t *testing.T) {
	repo := repository(t)
	must(t, remote.Write(repo.Tag("v1"), dockerImage(t)))
	base, err := inject.Resolve(t.Context(), repo.Tag("v1"))
	must(t, err)
	digest, err := base.Digest()
	must(t, err)
	img, err := inject.Agent(base, agent())
	must(t, err)
	tag := repo.Tag(inject.Tag(agent(), digest))
	must(t, remote.Write(tag, img))
	back, err := remote.Image(tag)
	must(t, err)
	must(t, validate.Image(back))
	sameDigest(t, back, img)
}

func sameDigest(t *testing.T, got, want v1.Image) {
	t.Helper()
	g, err := got.Digest()
	must(t, err)
	w, err := want.Digest()
	must(t, err)
	if g != w {
		t.Errorf("got %s, want %s", g, w)
	}
}

func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v, want an error with %q", err, text)
	}
	if !errors.Is(err, inject.ErrUnsupported) {
		t.Errorf("%v is no ErrUnsupported", err)
	}
}
