// Package images holds what cloudssh puts into containers: the programs it
// carries for Linux (the agent, its shell and the sample web server), the image
// of the agent for sidecars and those of the sample services, put together
// without a Dockerfile or an engine.
package images

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

//go:embed all:bin
var embedded embed.FS

// Programs that Program knows.
const (
	Agent = "cloudssh-agent"
	Shell = "cloudssh-shell"
	hello = "hello"
)

// sources are the folders of the programs, from the module's root.
func sources() map[string]string {
	return map[string]string{Agent: "cmd/cloudssh-agent", Shell: "cmd/cloudssh-shell", hello: "images/hello"}
}

// Program returns the static binary of a program for linux/arch, stamped with
// version. A development build (one that knows its source folder) compiles it,
// so that it is never stale; any other takes the embedded one, else the file
// NAME-linux-ARCH or NAME beside the executable.
func Program(ctx context.Context, name, arch, version string) ([]byte, error) {
	if root, ok := sourceRoot(); ok {
		programs, err := build(ctx, root, arch, version, name)
		if err != nil {
			return nil, err
		}
		return programs[0], nil
	}
	b, err := unpack(name, arch)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("locating the executable: %w", err)
	}
	candidates := []string{name + "-linux-" + arch}
	if runtime.GOOS == "linux" && runtime.GOARCH == arch {
		candidates = append(candidates, name)
	}
	for _, c := range candidates {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(exe), c))
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, &missingError{name: name, arch: arch}
}

// missingError says that this build carries no such program.
type missingError struct{ name, arch string }

func (e *missingError) Error() string {
	return fmt.Sprintf("this build of cloudssh carries no %s for linux/%s", e.name, e.arch)
}

// Hints implements the hint convention of the command line.
func (e *missingError) Hints() []string {
	return []string{"use a release, or run `make build` in a checkout, which embeds it"}
}

func unpack(name, arch string) ([]byte, error) {
	f, err := embedded.Open("bin/" + name + "-linux-" + arch + ".gz")
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // an embedded file has nothing to lose
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading the embedded %s: %w", name, err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("reading the embedded %s: %w", name, err)
	}
	return b, nil
}

// sourceRoot is the module's root when this binary was built from a checkout
// without -trimpath and the checkout is still there.
func sourceRoot() (string, bool) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", false
	}
	root := filepath.Dir(filepath.Dir(file))
	_, err := os.Stat(filepath.Join(root, "go.mod"))
	return root, err == nil
}

// build compiles programs. The results are kept, because go build does not link
// again what is up to date; they are worked on in copies, because another
// cloudssh may be doing the same.
func build(ctx context.Context, root, arch, version string, names ...string) (programs [][]byte, err error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "cloudssh", "build")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(dir, "work-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	kept := func(name string) string { return filepath.Join(dir, name+"-"+arch) }
	for _, name := range names {
		if old, err := os.ReadFile(kept(name)); err == nil {
			if err := os.WriteFile(filepath.Join(work, name), old, 0o600); err != nil {
				return nil, err
			}
		}
	}
	if err := compile(ctx, root, work, arch, version, names); err != nil {
		return nil, err
	}
	for _, name := range names {
		out := filepath.Join(work, name)
		b, err := os.ReadFile(out)
		if err != nil {
			return nil, err
		}
		if err := os.Rename(out, kept(name)); err != nil {
			return nil, err
		}
		programs = append(programs, b)
	}
	return programs, nil
}

// compile has go build write programs into a directory, under the names of their
// folders.
func compile(ctx context.Context, root, dir, arch, version string, names []string) error {
	args := []string{"build", "-trimpath", "-o", dir + string(filepath.Separator), "-ldflags", "-s -w -X main.version=" + version}
	for _, name := range names {
		args = append(args, "./"+sources()[name])
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=-buildvcs=false")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		what := strings.Join(names, " and ")
		if ctx.Err() != nil { // "signal: killed" would be about us
			return fmt.Errorf("building %s: %w", what, ctx.Err())
		}
		return fmt.Errorf("building %s for linux/%s: %w\n%s", what, arch, err, stderr.Bytes())
	}
	return nil
}
