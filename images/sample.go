package images

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// busyboxImage is the base of the sample where the machine has no static busybox.
const busyboxImage = "docker.io/library/busybox:1.37.0"

// Hello returns the image of the sample service: our web server in /app on a
// busybox base, which comes from this machine's static busybox if there is
// one, else from Docker Hub.
func Hello(ctx context.Context, arch, version string) (v1.Image, error) {
	base, err := busybox(ctx, arch)
	if err != nil {
		return nil, err
	}
	server, err := Program(ctx, hello, arch, version)
	if err != nil {
		return nil, err
	}
	img, err := addFiles(base, []file{
		dir("app"),
		{name: "app/hello", mode: 0o755, body: server},
		{name: "app/README", mode: 0o644, body: []byte("The sample service of cloudssh. Start it here with: cloudssh-app\n")},
	})
	if err != nil {
		return nil, err
	}
	return configure(img, arch, v1.Config{
		Entrypoint: []string{"/app/hello"},
		WorkingDir: "/app",
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GREETING=Hello"},
	})
}

// HelloBare returns the web server alone in an empty image, run as UID 65532:
// no shell, no /etc/passwd, no /tmp.
func HelloBare(ctx context.Context, arch, version string) (v1.Image, error) {
	server, err := Program(ctx, hello, arch, version)
	if err != nil {
		return nil, err
	}
	img, err := addFiles(empty.Image, []file{{name: "hello", mode: 0o755, body: server}})
	if err != nil {
		return nil, err
	}
	return configure(img, arch, v1.Config{Entrypoint: []string{"/hello"}, User: "65532"})
}

// configure sets the image's config and platform.
func configure(img v1.Image, arch string, c v1.Config) (v1.Image, error) {
	f, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	f = f.DeepCopy()
	f.OS, f.Architecture, f.Config = "linux", arch, c
	return mutate.ConfigFile(img, f)
}

// busybox is a base image with busybox and a link for each of its applets.
func busybox(ctx context.Context, arch string) (v1.Image, error) {
	for _, p := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if !static(p, arch) {
			continue
		}
		files, err := busyboxFiles(ctx, p)
		if err != nil {
			return nil, err
		}
		return addFiles(empty.Image, files)
	}
	ref, err := name.ParseReference(busyboxImage)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
	if err != nil {
		return nil, &noBusyboxError{fmt.Errorf("pulling %s for the sample service: %w", busyboxImage, err)}
	}
	return img, nil
}

// noBusyboxError is the lack of a base for the sample.
type noBusyboxError struct{ error }

func (e *noBusyboxError) Unwrap() error { return e.error }

// Hints implements the hint convention of the command line.
func (e *noBusyboxError) Hints() []string {
	return []string{"sudo apt-get install busybox-static", "cloudssh demo --image IMAGE"}
}

// static reports whether p is an executable for arch without an interpreter,
// that is, one that runs in an image that holds nothing else.
func static(p, arch string) bool {
	f, err := elf.Open(p)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // only read
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if f.Machine != machine {
		return false
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

func busyboxFiles(ctx context.Context, p string) ([]file, error) {
	b, err := os.ReadFile(p)
	if err != nil {
		return nil, err
	}
	list, err := exec.CommandContext(ctx, p, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("listing the applets of %s: %w", p, err)
	}
	files := []file{
		dir("bin"), dir("etc"), dir("root"), dir("usr"), dir("usr/bin"), dir("var"),
		{name: "tmp", mode: 0o1777, kind: tar.TypeDir},
		{name: "etc/passwd", mode: 0o644, body: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
		{name: "etc/group", mode: 0o644, body: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{name: "bin/busybox", mode: 0o755, body: b},
	}
	for _, applet := range strings.Fields(string(list)) {
		if applet != "busybox" {
			files = append(files, file{name: "bin/" + applet, mode: 0o777, kind: tar.TypeSymlink, link: "busybox"})
		}
	}
	return files, nil
}

// file is one entry of a layer.
type file struct {
	name string
	mode int64
	kind byte // tar.TypeReg unless set
	link string
	body []byte
}

func dir(name string) file { return file{name: name, mode: 0o755, kind: tar.TypeDir} }

// addFiles appends a layer. Entries are sorted and undated, so the same files
// always make the same layer.
func addFiles(img v1.Image, files []file) (v1.Image, error) {
	sort.SliceStable(files, func(i, j int) bool { return files[i].name < files[j].name })
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		if err := writeFile(w, f); err != nil {
			return nil, fmt.Errorf("adding %s to the sample's layer: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b := buf.Bytes()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
		tarball.WithCompressedCaching) // the digest and the push need the same bytes
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, layer)
}

func writeFile(w *tar.Writer, f file) error {
	if path.IsAbs(f.name) {
		return errors.New("the name is absolute")
	}
	kind := f.kind
	if kind == 0 {
		kind = tar.TypeReg
	}
	h := &tar.Header{Name: f.name, Mode: f.mode, Typeflag: kind, Linkname: f.link, Size: int64(len(f.body))}
	if kind == tar.TypeDir {
		h.Name += "/"
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(f.body)
	return err
}
