package inject_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cloudssh/cloudssh/internal/inject"
)

// agent is a stand-in; nothing here runs it.
func agent() inject.Binary {
	return inject.Binary{Bytes: bytes.Repeat([]byte("agent\x00"), 5000), Shell: bytes.Repeat([]byte("shell\x00"), 1<<20), Version: "v1.2.3"}
}

// image is a random image with a config worth keeping.
func image(t *testing.T, manifest, config, layer types.MediaType) v1.Image {
	t.Helper()
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, manifest), config)
	var err error
	for range 2 {
		var l v1.Layer
		l, err = random.Layer(1024, layer, random.WithSource(zeroes{}))
		must(t, err)
		base, err = mutate.Append(base, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: "test"}})
		must(t, err)
	}
	cfg, err := base.ConfigFile()
	must(t, err)
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", "amd64"
	cfg.Config = v1.Config{
		User: "65532:65532", WorkingDir: "/srv", Entrypoint: []string{"/hello"}, Cmd: []string{"-v"}, Env: []string{"A=b"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}}, Labels: map[string]string{"team": "x"}, StopSignal: "SIGINT",
	}
	base, err = mutate.ConfigFile(base, cfg)
	must(t, err)
	return base
}

func dockerImage(t *testing.T) v1.Image {
	t.Helper()
	return image(t, types.DockerManifestSchema2, types.DockerConfigJSON, types.DockerLayer)
}

func ociImage(t *testing.T) v1.Image {
	t.Helper()
	return image(t, types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayerZStd)
}

// zeroes makes random images the same in each run.
type zeroes struct{}

func (zeroes) Seed(int64)     {}
func (zeroes) Int63() int64   { return 42 }
func (zeroes) Uint64() uint64 { return 42 }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAgentKeepsFormat(t *testing.T) {
	for name, tc := range map[string]struct {
		base                    v1.Image
		manifest, config, layer types.MediaType
	}{
		"docker": {dockerImage(t), types.DockerManifestSchema2, types.DockerConfigJSON, types.DockerLayer},
		"oci":    {ociImage(t), types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := inject.Agent(tc.base, agent())
			must(t, err)
			must(t, validate.Image(img))
			m, err := img.Manifest()
			must(t, err)
			before, err := tc.base.Manifest()
			must(t, err)
			if m.MediaType != tc.manifest || m.Config.MediaType != tc.config {
				t.Errorf("manifest %s, config %s", m.MediaType, m.Config.MediaType)
			}
			if len(m.Layers) != 3 || m.Layers[2].MediaType != tc.layer {
				t.Fatalf("layers %+v", m.Layers)
			}
			if diff := cmp.Diff(before.Layers, m.Layers[:2]); diff != "" {
				t.Errorf("base layers changed:\n%s", diff)
			}
		})
	}
}

func TestAgentKeepsConfig(t *testing.T) {
	base := dockerImage(t)
	img, err := inject.Agent(base, agent())
	must(t, err)
	before, err := base.ConfigFile()
	must(t, err)
	after, err := img.ConfigFile()
	must(t, err)
	if len(after.RootFS.DiffIDs) != 3 || len(after.History) != 3 {
		t.Fatalf("%d diff ids, %d history entries", len(after.RootFS.DiffIDs), len(after.History))
	}
	after = after.DeepCopy()
	after.RootFS.DiffIDs, after.History = after.RootFS.DiffIDs[:2], after.History[:2]
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("config changed:\n%s", diff)
	}
}

func TestAgentLayer(t *testing.T) {
	img, err := inject.Agent(dockerImage(t), agent())
	must(t, err)
	layers, err := img.Layers()
	must(t, err)
	r, err := layers[2].Uncompressed()
	must(t, err)
	defer r.Close()
	var got []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s: time %v, owner %d:%d %q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
		got = append(got, h.FileInfo().Mode().String()+" "+h.Name+" "+h.Linkname)
		if h.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(tr)
			must(t, err)
			want := map[string][]byte{inject.AgentPath: agent().Bytes, inject.ShellPath: agent().Shell}["/"+h.Name]
			if !bytes.Equal(content, want) {
				t.Errorf("the bytes of %s changed", h.Name)
			}
		}
	}
	want := []string{
		"drwxr-xr-x .cloudssh/ ",
		"drwxr-xr-x .cloudssh/bin/ ",
		"Lrwxrwxrwx .cloudssh/bin/cloudssh-app ../cloudssh-agent",
		"Lrwxrwxrwx .cloudssh/bin/cloudssh-env ../cloudssh-agent",
		"-rwxr-xr-x .cloudssh/cloudssh-agent ",
		"-rwxr-xr-x .cloudssh/cloudssh-shell ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAgentIsReproducible(t *testing.T) {
	digest := func(base v1.Image, a inject.Binary) v1.Hash {
		img, err := inject.Agent(base, a)
		must(t, err)
		h, err := img.Digest()
		must(t, err)
		return h
	}
	base := ociImage(t)
	first := digest(base, agent())
	if again := digest(base, agent()); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	other := agent()
	other.Bytes = append(other.Bytes, 0)
	if digest(base, other) == first {
		t.Error("another agent gives the same image")
	}
	other = agent()
	other.Shell = nil
	if digest(base, other) == first {
		t.Error("without the shell it is the same image")
	}
}

func TestAgentRefusesArtifacts(t *testing.T) {
	chart := image(t, types.OCIManifestSchema1, "application/vnd.cncf.helm.config.v1+json", types.OCILayer)
	_, err := inject.Agent(chart, agent())
	if err == nil || !strings.Contains(err.Error(), "not a container image") {
		t.Errorf("got %v", err)
	}
}

func TestTag(t *testing.T) {
	valid := regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	base := v1.Hash{Algorithm: "sha256", Hex: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
	a := agent()
	tag := inject.Tag(a, base)
	if !strings.HasPrefix(tag, "cloudssh-v1.2.3-") || !strings.HasSuffix(tag, "-0123456789ab") {
		t.Errorf("tag %q", tag)
	}
	for _, version := range []string{"", "v1.0.0+dirty", "devel (abc)", "ünïcode", strings.Repeat("9", 300)} {
		a.Version = version
		if tag := inject.Tag(a, base); !valid.MatchString(tag) {
			t.Errorf("version %q gives the tag %q", version, tag)
		}
	}
	a = agent()
	a.Bytes = a.Bytes[1:]
	if inject.Tag(a, base) == tag {
		t.Error("two agents of one version have the same tag")
	}
	a = agent()
	a.Shell = a.Shell[1:]
	if inject.Tag(a, base) == tag {
		t.Error("two shells of one version have the same tag")
	}
}

func TestAppOf(t *testing.T) {
	both := v1.Config{Entrypoint: []string{"/e"}, Cmd: []string{"c"}, WorkingDir: "srv", User: "app"}
	for name, tc := range map[string]struct {
		cfg           v1.Config
		command, args []string
		dir           string
		want          inject.App
	}{
		"image's own":      {both, nil, nil, "", inject.App{Entrypoint: []string{"/e"}, Args: []string{"c"}, Dir: "/srv", User: "app"}},
		"args":             {both, nil, []string{"x"}, "", inject.App{Entrypoint: []string{"/e"}, Args: []string{"x"}, Dir: "/srv", User: "app"}},
		"command":          {both, []string{"/n"}, nil, "", inject.App{Entrypoint: []string{"/n"}, Dir: "/srv", User: "app"}},
		"command and args": {both, []string{"/n"}, []string{"x", ""}, "/w", inject.App{Entrypoint: []string{"/n"}, Args: []string{"x", ""}, Dir: "/w", User: "app"}},
		"only cmd":         {v1.Config{Cmd: []string{"sh"}}, nil, nil, "", inject.App{Args: []string{"sh"}, Dir: "/"}},
		"nothing":          {v1.Config{}, nil, nil, "", inject.App{Dir: "/"}},
		"environment":      {v1.Config{Env: []string{"PATH=/bin"}}, nil, nil, "", inject.App{Dir: "/", Env: []string{"PATH=/bin"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := inject.AppOf(&v1.ConfigFile{Config: tc.cfg}, tc.command, tc.args, tc.dir)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func BenchmarkAgent(b *testing.B) {
	base, err := random.Image(1024, 2)
	if err != nil {
		b.Fatal(err)
	}
	exe, err := os.Executable() // as good a program as another
	if err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(exe)
	if err != nil {
		b.Fatal(err)
	}
	big := inject.Binary{Bytes: text, Shell: text}
	b.SetBytes(2 * int64(len(text)))
	for b.Loop() {
		img, err := inject.Agent(base, big)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := img.Digest(); err != nil {
			b.Fatal(err)
		}
	}
}
