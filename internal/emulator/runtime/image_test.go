package runtime

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// An entry is a file of a layer.
type entry struct {
	tar.Header
	content string
}

func dir(name string, mode int64) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}}
}

func file(name, content string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content: content}
}

func executable(name, content string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755}, content: content}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}}
}

func archive(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		e.Size = int64(len(e.content))
		if err := w.WriteHeader(&e.Header); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func layerOf(tb testing.TB, entries ...entry) v1.Layer {
	tb.Helper()
	content := archive(tb, entries...)
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return layer
}

func imageOf(tb testing.TB, layers ...v1.Layer) v1.Image {
	tb.Helper()
	return appendTo(tb, empty.Image, layers...)
}

func appendTo(tb testing.TB, base v1.Image, layers ...v1.Layer) v1.Image {
	tb.Helper()
	image, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		tb.Fatal(err)
	}
	return image
}

// busyboxImage is the distribution's static busybox with the applets that the tests use.
func busyboxImage(tb testing.TB, more ...entry) v1.Image {
	tb.Helper()
	content, err := os.ReadFile("/bin/busybox")
	if err != nil {
		tb.Fatalf("the tests need Debian's busybox-static: %v", err)
	}
	entries := []entry{
		dir("bin", 0o755), executable("bin/busybox", string(content)),
		file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/sh\n"),
		file("etc/group", "root:x:0:\nwww:x:33:\nstaff:x:50:www\n"),
		dir("tmp", 0o1777),
	}
	for _, applet := range []string{
		"sh", "cat", "seq", "id", "env", "pwd", "ls", "kill", "nc", "wget", "mount", "df", "sleep", "dd", "hostname", "stat", "head", "grep", "true",
	} {
		entries = append(entries, symlink("bin/"+applet, "busybox"))
	}
	return imageOf(tb, layerOf(tb, append(entries, more...)...))
}

// peerImage has the program of testdata/peer, and that alone.
func peerImage(tb testing.TB) v1.Image {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), "peer")
	build := exec.CommandContext(tb.Context(), "go", "build", "-o", program, "./testdata/peer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if output, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("building the peer: %v\n%s", err, output)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		tb.Fatal(err)
	}
	return imageOf(tb, layerOf(tb, executable("peer", string(content))))
}
