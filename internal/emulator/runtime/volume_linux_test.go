package runtime

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// TestOCIMemoryVolume: a memory volume is one tmpfs for all containers and all users of a sandbox, is full at its size, and
// a program in it can be run.
func TestOCIMemoryVolume(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t)
	whole := Mount{Destination: "/v", Kind: Tmpfs, Shared: "work", Size: 4 << 20}
	part := whole
	part.SubPath, part.Destination = "a/b", "/part"

	writer := shell(image, `stat -c '%a %u' /v /part; cat /bin/busybox > /v/busybox && /bin/busybox chmod 755 /v/busybox
		echo one > /part/file; dd if=/dev/zero of=/v/big bs=1M count=5 2>&1 | grep -o 'No space left on device'`)
	writer.Mounts, writer.User = []Mount{whole, part}, "65532"
	if got := run(t, s, writer); got.stdout != "1777 0\n1777 0\nNo space left on device\n" {
		t.Errorf("the first container: %+v", got)
	}
	reader := Container{Image: image, Args: []string{"/v/busybox", "sh", "-c", "cat /v/a/b/file; ls /part; echo x >> /v/busybox || echo not mine"}}
	reader.Mounts, reader.User = []Mount{whole, part}, "www"
	if got := run(t, s, reader); got.stdout != "one\nfile\nnot mine\n" {
		t.Errorf("the second container: %+v", got)
	}
}

// TestOCIMemoryVolumeIsMemory: what a container writes to the volume counts as its own memory, not that of the others.
func TestOCIMemoryVolumeIsMemory(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	if r.cgroups.memory == "" {
		t.Skip("SKIPPED, NOT TESTED: memory cannot be limited here")
	}
	s := sandboxOf(t, r, "one")
	c := shell(busyboxImage(t), "exec dd if=/dev/zero of=/v/big bs=1M count=48 2>/dev/null")
	c.Memory, c.Mounts = 32<<20, []Mount{{Destination: "/v", Kind: Tmpfs, Shared: "work", Size: 64 << 20}}
	if got := run(t, s, c); !got.exit.OOM {
		t.Errorf("48 MiB in a container of 32 MiB: exit %+v, want out of memory", got.exit)
	}
	c.Memory = 64 << 20
	if got := run(t, s, c); got.exit != (Exit{}) {
		t.Errorf("48 MiB in a container of 64 MiB: exit %+v", got.exit)
	}
	c = shell(c.Image, "stat -c %s /v/big")
	c.Memory, c.Mounts = 32<<20, []Mount{{Destination: "/v", Kind: Tmpfs, Shared: "work"}}
	if got := run(t, s, c); got.stdout != "50331648\n" {
		t.Errorf("the other container: %+v", got)
	}
}

// TestSubPathStaysInItsVolume: a container that wrote to the volume before must not get a directory of this machine.
func TestSubPathStaysInItsVolume(t *testing.T) {
	for link, wrong := range map[string]bool{"/etc": true, "../../..": true, "b": false} {
		volume := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(volume, "b"), 0o700), os.Symlink(link, filepath.Join(volume, "a"))); err != nil {
			t.Fatal(err)
		}
		if err := makeSubPath(volume, "a/c"); wrong != (err != nil) {
			t.Errorf("a link to %s: %v", link, err)
		}
	}
	volume := t.TempDir()
	if err := os.WriteFile(filepath.Join(volume, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := makeSubPath(volume, "file"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v, want ENOTDIR", err)
	}
}

// TestOCIReadOnlyRoot: nothing but volumes and the kernel's own file systems can be written to, mount points are made all
// the same, and so is the working directory.
func TestOCIReadOnlyRoot(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	c := Container{
		Image: imageOf(t, layerOf(t, executable("busybox", string(program)))), ReadOnly: true, User: "65532", Dir: "/srv/here",
		Args:   []string{"/busybox", "sh", "-c", "/busybox pwd; /busybox touch /a 2>&1; /busybox touch /v/a /dev/shm/a && echo volumes"},
		Mounts: []Mount{{Destination: "/v", Kind: Tmpfs, Shared: "v"}},
	}
	if got := run(t, s, c); got.stdout != "/srv/here\ntouch: /a: Read-only file system\nvolumes\n" {
		t.Errorf("got %+v", got)
	}
}

// TestZstdLayers: the layers of an image may be compressed with Zstandard.
func TestZstdLayers(t *testing.T) {
	layer := zstdLayer(t, file("hello", strings.Repeat("hello\n", 1000)))
	compressed, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer compressed.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(compressed, magic); err != nil || !bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		t.Fatalf("the layer begins with %x, %v: not compressed with Zstandard", magic, err)
	}
	store := &imageStore{dir: t.TempDir(), tmp: t.TempDir(), busy: map[string]chan struct{}{}}
	root, err := store.rootfs(t.Context(), imageOf(t, layer))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "hello")); err != nil || len(got) != 6000 {
		t.Errorf("the file has %d bytes, %v; want 6000", len(got), err)
	}
}

func zstdLayer(tb testing.TB, entries ...entry) v1.Layer {
	tb.Helper()
	content := archive(tb, entries...)
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithCompression(compression.ZStd), tarball.WithMediaType(types.OCILayerZStd))
	if err != nil {
		tb.Fatal(err)
	}
	return layer
}
