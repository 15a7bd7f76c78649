package emulator_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil },
		tarball.WithCompressedCaching, tarball.WithCompressionLevel(gzip.NoCompression)) // it is slow under the race detector
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

func needRunc(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("running containers takes root")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("runc is not installed")
	}
}

// TestRealRuntime runs a service under runc from push to deletion, and looks for what is left.
func TestRealRuntime(t *testing.T) {
	needRunc(t)
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
	if want := "http://" + s.Addr + "/emulator/v1/logs/" + made.GetLatestReadyRevision(); err != nil || rev.GetLogUri() != want {
		t.Fatalf("log at %q, %v, want %q", rev.GetLogUri(), err, want)
	}
	awaitLog(t, s, made, "started as 65532") // it comes through a pipe of its own
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
	if left := mounted(t, dir); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
	if _, err := os.Stat(filepath.Join(dir, "emulator-0", "blobs")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the registry's blobs are left (%v)", err)
	}
}

// childState is the environment variable that makes TestKilledEmulator the emulator that is to be killed.
const childState = "EMULATOR_TEST_CHILD"

// TestKilledEmulator kills an emulator with SIGKILL while it runs a service: the next start in the same state directory
// removes the containers, mounts and files.
func TestKilledEmulator(t *testing.T) {
	needRunc(t)
	if dir := os.Getenv(childState); dir != "" {
		runUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledEmulator$")
	child.Env, child.Stderr = append(os.Environ(), childState+"="+dir), t.Output()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		t.Log(lines.Text())
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the emulator ended by itself")
	}
	if len(running(t, dir)) == 0 || len(mounted(t, dir)) == 0 {
		t.Fatalf("the killed emulator left nothing to remove: processes %v, mounts %v", running(t, dir), mounted(t, dir))
	}

	s := start(t, func(o *emulator.Options) {
		o.RuntimeKind, o.StateDir, o.MemoryRegistry = runtime.Runc, dir, false
	})
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	if left := mounted(t, dir); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
	ref, err := s.Push(t.Context(), "demo/busybox", sleeper(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	svc := &runpb.Service{Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: ref}}}}
	create(t, services(t, s), "busybox", svc) // it still works
}

// runUntilKilled is the child of TestKilledEmulator.
func runUntilKilled(t *testing.T, dir string) {
	t.Helper()
	s, err := emulator.New(t.Context(), emulator.Options{RuntimeKind: runtime.Runc, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := s.Push(t.Context(), "demo/busybox", sleeper(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	svc := &runpb.Service{Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: ref}}}}
	create(t, services(t, s), "busybox", svc)
	fmt.Fprintln(os.Stdout, "ready")
	select {}
}

// sleeper is a web server whose command line names marker.
func sleeper(t *testing.T, marker string) v1.Image {
	t.Helper()
	return busyboxImage(t, "/bin/busybox", "sh", "-c",
		`trap exit TERM; /bin/busybox httpd -f -p "$PORT" -h /www & wait; : `+marker)
}

// running are the processes whose command line names marker, other than this test's own.
func running(t *testing.T, marker string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		// A process that ends meanwhile is none.
		if raw, err := os.ReadFile(path); err == nil && bytes.Contains(raw, []byte(": "+marker)) {
			found = append(found, path)
		}
	}
	return found
}

func mounted(t *testing.T, dir string) []string {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(string(raw), "\n"), func(line string) bool { return !strings.Contains(line, dir) })
}
