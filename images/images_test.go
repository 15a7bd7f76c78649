package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func names(t *testing.T, img v1.Image) []string {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	var out []string
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h.Name)
	}
}

// throughRegistry pushes img to a registry and returns what is pulled from it.
func throughRegistry(t *testing.T, img v1.Image) v1.Image {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	ref, err := name.ParseReference(strings.TrimPrefix(s.URL, "http://") + "/hello:latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	return pulled
}

func TestHello(t *testing.T) {
	if !static("/bin/busybox", runtime.GOARCH) && !static("/usr/bin/busybox", runtime.GOARCH) {
		t.Skip("no static busybox on this machine (apt-get install busybox-static)")
	}
	img, err := Hello(t.Context(), runtime.GOARCH, "v0")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(throughRegistry(t, img)); err != nil {
		t.Fatal(err)
	}
	got := names(t, img)
	for _, want := range []string{"app/hello", "bin/busybox", "bin/sh", "bin/vi", "bin/top", "etc/passwd"} {
		if !slices.Contains(got, want) {
			t.Errorf("the image has no %s", want)
		}
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Config.Entrypoint, []string{"/app/hello"}) || c.Config.WorkingDir != "/app" {
		t.Errorf("config: %+v", c.Config)
	}
}

func TestHelloBareHoldsOneFile(t *testing.T) {
	img, err := HelloBare(t.Context(), runtime.GOARCH, "v0")
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, img); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("files: %v", got)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.Config.User != "65532" {
		t.Errorf("user: %q", c.Config.User)
	}
}

func TestImagesAreReproducible(t *testing.T) {
	var digests []v1.Hash
	for range 2 {
		img, err := HelloBare(t.Context(), runtime.GOARCH, "v0")
		if err != nil {
			t.Fatal(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds differ: %v", digests)
	}
}

func TestUnpackOfAnUnknownProgram(t *testing.T) {
	if _, err := unpack("nothing", "amd64"); err == nil {
		t.Fatal("an unknown program was unpacked")
	}
	e := &missingError{name: Agent, arch: "riscv64"}
	if len(e.Hints()) == 0 {
		t.Error("no hint")
	}
}

// What a sidecar needs: two programs that run by themselves.
func TestAgentImage(t *testing.T) {
	img, err := AgentImage(t.Context(), runtime.GOARCH, "v0")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(throughRegistry(t, img)); err != nil {
		t.Fatal(err)
	}
	if got := names(t, img); !slices.Equal(got, []string{"cloudssh-agent", "cloudssh-shell"}) {
		t.Errorf("files: %v", got)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Config.Entrypoint, []string{"/cloudssh-agent"}) || c.Architecture != runtime.GOARCH || c.OS != "linux" {
		t.Errorf("config: %+v", c)
	}
}

// The same programs give the same bytes, or nobody could check what was published.
func TestAgentImageIsReproducible(t *testing.T) {
	var digests []v1.Hash
	for range 2 {
		img, err := agentImage(bytes.Repeat([]byte("agent"), 1<<20), bytes.Repeat([]byte("shell"), 1<<20), "amd64", "v0")
		if err != nil {
			t.Fatal(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds differ: %v", digests)
	}
}

// A program that `make embed` forgets is missing in releases only.
func TestEmbeddedPrograms(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(makefile), "for program in ")
	list, _, _ = strings.Cut(list, ";")
	got := strings.Fields(list)
	slices.Sort(got)
	if want := slices.Sorted(maps.Values(sources())); !slices.Equal(got, want) {
		t.Errorf("the Makefile embeds %v, want %v", got, want)
	}
}
