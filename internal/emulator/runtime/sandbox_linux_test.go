package runtime

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOCINetwork(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	testNetwork(t, r)
}

// testNetwork holds what every runtime with network namespaces promises.
func testNetwork(t *testing.T, r Runtime) {
	t.Helper()
	s, other := sandboxOf(t, r, "one"), sandboxOf(t, r, "two")
	image := peerImage(t)

	l, err := s.Listen(t.Context(), "169.254.169.254:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echoOnce(l)
	ask := Container{Image: image, Args: []string{"/peer", "ask", "metadata.google.internal:80", "a token"}}
	if got, want := run(t, s, ask), (result{stdout: "a token"}); got != want {
		t.Errorf("metadata server in the namespace: %+v", got)
	}

	out := newLineWaiter()
	serve := Container{Name: "server", Image: image, Args: []string{"/peer", "serve", ":80"}, User: "65532", Stdout: out, Stderr: out}
	start(t, s, serve)
	out.wait(t, "ready")
	ask.Args = []string{"/peer", "ask", "localhost:80", "hi"}
	if got, want := run(t, s, ask), (result{stdout: "hi"}); got != want {
		t.Errorf("from container to container: %+v", got)
	}

	c, err := s.Dial(t.Context(), 80)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "dialled"); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(c); err != nil || string(text) != "dialled" {
		t.Errorf("echo %q, %v", text, err)
	}
	if _, err := other.Dial(t.Context(), 80); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("another sandbox: %v, want ECONNREFUSED", err)
	}
}

func echoOnce(l net.Listener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	_, _ = io.Copy(c, c)
	_ = c.Close()
}

func TestOCIMemoryLimit(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	if r.cgroups.memory == "" {
		t.Skip("SKIPPED, NOT TESTED: memory cannot be limited here")
	}
	s := sandboxOf(t, r, "one")
	c := Container{Image: busyboxImage(t), Args: []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"}, Memory: 32 << 20}
	want := Exit{Code: 137, Signal: "SIGKILL", OOM: true}
	if got := run(t, s, c); got.exit != want {
		t.Errorf("exit %+v (%s), want %+v", got.exit, got.stderr, want)
	}
	c.Memory = 512 << 20
	if got := run(t, s, c); got.exit != (Exit{}) {
		t.Errorf("with enough memory: %+v", got)
	}
}

func TestOCICPULimit(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	c := shell(busyboxImage(t), "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null | head -n 1")
	c.CPU = 0.5
	if got := run(t, s, c); !strings.HasPrefix(got.stdout, "50000") {
		t.Errorf("quota of half a CPU: %+v", got)
	}
	out := newLineWaiter()
	c = shell(busyboxImage(t), "echo ready; until [ -e /v/go ]; do sleep 0.05; done; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null | head -n 1")
	c.CPU, c.Stdout, c.Mounts = 0.5, out, []Mount{{Destination: "/v", Kind: Bind, Source: t.TempDir()}}
	p := start(t, s, c).(Throttled)
	out.wait(t, "ready")
	if err := errors.Join(p.LimitCPU(1.5), os.WriteFile(filepath.Join(c.Mounts[0].Source, "go"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	out.wait(t, "150000")
	<-p.Done()
	if err := p.LimitCPU(1); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

func TestOCIClose(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t)
	out := newLineWaiter()
	c := shell(image, "trap '' TERM; echo ready; sleep 1000")
	c.Stdout, c.Mounts = out, []Mount{{Destination: "/v", Kind: Tmpfs, Shared: "v"}}
	p := start(t, s, c)
	out.wait(t, "ready")
	if _, err := s.Listen(t.Context(), "169.254.169.254:80"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	assertSandboxGone(t, r, "one")
	<-p.Done()
	if got := p.Exit().Signal; got != "SIGKILL" {
		t.Errorf("ended by %q, want SIGKILL", got)
	}
	for name, err := range map[string]error{
		"start":  second(s.Start(t.Context(), c)),
		"dial":   second(s.Dial(t.Context(), 80)),
		"listen": second(s.Listen(t.Context(), ":80")),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	if _, err := r.Sandbox(t.Context(), SandboxSpec{ID: "one"}); err != nil {
		t.Errorf("the ID of a closed sandbox again: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestOCICancelledStart(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Start(ctx, shell(busyboxImage(t), "echo")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	assertSandboxGone(t, r, "one")
}

func TestOCIIDs(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	if _, err := r.Sandbox(t.Context(), SandboxSpec{ID: "one"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second sandbox of the same ID: %v, want fs.ErrExist", err)
	}
	image := busyboxImage(t)
	start(t, s, shell(image, "sleep 1000"))
	if _, err := s.Start(t.Context(), shell(image, "true")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second container of the same name: %v, want fs.ErrExist", err)
	}
}

// TestOCICloseDuringStart closes while a start waits for an image that never comes.
func TestOCICloseDuringStart(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(r.images.dir, chainIDs(config.RootFS.DiffIDs)[1])
	release, err := r.images.acquire(t.Context(), name) // as if another sandbox were unpacking it
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	failed := make(chan error, 1)
	go func() {
		_, err := s.Start(context.WithoutCancel(t.Context()), shell(image, "true"))
		failed <- err
	}()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
		t.Errorf("start: %v", err)
	}
	assertSandboxGone(t, r, "one")
}
