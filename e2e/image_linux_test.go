package e2e

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// toolsTarball is the path of an image with what common base images hold and
// the sample does not: a C library, Python, git and rsync, taken from this
// machine's own packages. Its service is Python's web server.
var toolsTarball = sync.OnceValues(func() (string, error) {
	c := collection{files: map[string]*tar.Header{}}
	if err := c.addTools(); err != nil {
		return "", fmt.Errorf("collecting the files of the image tools: %w", err)
	}
	layer, err := c.layer()
	if err != nil {
		return "", fmt.Errorf("packing the image tools: %w", err)
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH,
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/bin/sh", "-c", "exec python3 -m http.server $PORT"},
			WorkingDir: "/srv",
			Env:        []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"},
		},
	})
	if err != nil {
		return "", err
	}
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		return "", err
	}
	file := filepath.Join(workDir, "tools.tar")
	return file, tarball.WriteToFile(file, name.MustParseReference("tools:latest"), img)
})

// collection is files of this machine that go into an image, by their names
// there, without the leading slash.
type collection struct {
	files map[string]*tar.Header
}

func (c *collection) addTools() error {
	python, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		return err
	}
	version := strings.TrimPrefix(filepath.Base(python), "python")
	unwanted := regexp.MustCompile(`/(doc|man|locale|lintian|test|idlelib|lib2to3|ensurepip|__pycache__|config-[^/]*|pydoc_data|distutils|systemd|init\.d)(/|$)`)
	for _, p := range []string{"python" + version + "-minimal", "libpython" + version + "-minimal", "libpython" + version + "-stdlib", "rsync", "dash", "coreutils"} {
		list, err := exec.Command("dpkg", "-L", p).Output()
		if err != nil {
			return fmt.Errorf("listing the files of %s: %w", p, err)
		}
		for f := range strings.Lines(string(list)) {
			f = strings.TrimSpace(f)
			if _, err := os.Lstat(f); !strings.HasPrefix(f, "/") || err != nil || unwanted.MatchString(f) {
				continue // a line may also tell of a diversion
			}
			if err := c.add(f); err != nil {
				return err
			}
		}
	}
	for _, f := range []string{"/usr/bin/python3", "/bin/sh", "/usr/bin/git", "/usr/bin/git-upload-pack", "/usr/bin/git-receive-pack", "/bin/grep", "/bin/sed", "/usr/bin/cmp", "/usr/bin/ssh", "/usr/bin/ssh-add"} {
		if err := c.add(f); err != nil {
			return err
		}
	}
	return nil
}

// add takes a file, what it links to and the libraries it needs.
func (c *collection) add(file string) error {
	dir, err := filepath.EvalSymlinks(filepath.Dir(file)) // /bin is /usr/bin
	if err != nil {
		return err
	}
	file = filepath.Join(dir, filepath.Base(file))
	key := strings.TrimPrefix(file, "/")
	if c.files[key] != nil {
		return nil
	}
	info, err := os.Lstat(file)
	if err != nil || info.IsDir() {
		return err
	}
	h := &tar.Header{Name: key, Mode: int64(info.Mode().Perm()), Typeflag: tar.TypeReg, Size: info.Size()}
	c.files[key] = h
	if info.Mode()&os.ModeSymlink != 0 {
		h.Typeflag, h.Size = tar.TypeSymlink, 0
		if h.Linkname, err = os.Readlink(file); err != nil {
			return err
		}
		target := h.Linkname
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		if _, err := os.Lstat(target); err != nil {
			return nil //nolint:nilerr // a package may link to what it only suggests
		}
		return c.add(target)
	}
	return c.addLibraries(file)
}

var library = regexp.MustCompile(`(?m)(/\S+) \(0x`)

func (c *collection) addLibraries(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return nil //nolint:nilerr // a script has no libraries
	}
	needed, err := f.ImportedLibraries()
	_ = f.Close()
	if err != nil || len(needed) == 0 {
		return err
	}
	out, err := exec.Command("ldd", file).Output()
	if err != nil {
		return fmt.Errorf("finding the libraries of %s: %w", file, err)
	}
	for _, m := range library.FindAllStringSubmatch(string(out), -1) {
		if err := c.add(m[1]); err != nil {
			return err
		}
	}
	return nil
}

// layer packs the files, with what no package has.
func (c *collection) layer() (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	put := func(h *tar.Header, body []byte) error {
		h.Size = int64(len(body))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write(body)
		return err
	}
	for _, d := range []string{"dev", "etc", "home", "proc", "root", "srv", "sys", "usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "var"} {
		if err := put(&tar.Header{Name: d + "/", Mode: 0o755, Typeflag: tar.TypeDir}, nil); err != nil {
			return nil, err
		}
	}
	if err := put(&tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir}, nil); err != nil {
		return nil, err
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := put(&tar.Header{Name: l, Mode: 0o777, Typeflag: tar.TypeSymlink, Linkname: "usr/" + l}, nil); err != nil {
			return nil, err
		}
	}
	for file, text := range map[string]string{
		"etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
		"etc/group":         "root:x:0:\nnogroup:x:65534:\n",
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	} {
		if err := put(&tar.Header{Name: file, Mode: 0o644, Typeflag: tar.TypeReg}, []byte(text)); err != nil {
			return nil, err
		}
	}
	var names []string
	for n := range c.files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		var body []byte
		if c.files[n].Typeflag == tar.TypeReg {
			var err error
			if body, err = os.ReadFile("/" + n); err != nil {
				return nil, err
			}
		}
		if err := put(c.files[n], body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b := buf.Bytes()
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
		tarball.WithCompressedCaching, tarball.WithCompressionLevel(1))
}
