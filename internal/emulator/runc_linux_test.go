package emulator_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// busyboxImage is an image with a static busybox and a page.
func busyboxImage(t *testing.T, argv ...string) v1.Image {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("busybox is not installed")
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := elf.NewFile(bytes.NewReader(binary)); err != nil || f.Section(".interp") != nil {
		t.Skip("busybox is not static")
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for name, content := range map[string][]byte{"bin/busybox": binary, "www/index.html": []byte("hello from runc\n")} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(image(t, argv...), l)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.Config(img, v1.Config{Entrypoint: argv, User: "65532:65532"})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestRealRuntime runs a service under runc from push to deletion, and looks for what is left.
func TestRealRuntime(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("running containers takes root")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("runc is not installed")
	}
	dir := t.TempDir()
	s := start(t, func(o *emulator.Options) {
		o.RuntimeKind, o.StateDir, o.MemoryRegistry = runtime.Runc, dir, false
	})
	ref, err := s.Push(t.Context(), "demo/busybox", busyboxImage(t, "/bin/busybox", "sh", "-c",
		`echo started as $(/bin/busybox id -u); trap exit TERM; /bin/busybox httpd -f -p "$PORT" -h /www & wait`))
	if err != nil {
		t.Fatal(err)
	}
	c := services(t, s)
	svc := &runpb.Service{InvokerIamDisabled: true, Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: ref}}}}
	made := create(t, c, "busybox", svc)
	if code, body := get(t, s, made.GetUri()+"/index.html"); code != http.StatusOK || body != "hello from runc\n" {
		t.Errorf("through the ingress: %d %q", code, body)
	}
	rev, err := revisions(t, s).GetRevision(t.Context(), &runpb.GetRevisionRequest{Name: made.GetLatestReadyRevision()})
	if err != nil {
		t.Fatal(err)
	}
	if _, log := do(t, s, "GET", strings.TrimPrefix(rev.GetLogUri(), "http://"+s.Addr), ""); !strings.Contains(log, "started as 65532") {
		t.Errorf("log %q", log)
	}
	op, err := c.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: made.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Errorf("mounts left:\n%s", mounts)
	}
	if _, err := os.Stat(filepath.Join(dir, "emulator-0", "blobs")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the registry's blobs are left (%v)", err)
	}
}
