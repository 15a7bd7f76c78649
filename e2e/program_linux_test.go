package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

// cloudsshProgram is the path of a cloudssh as releases have it, built once:
// -trimpath, and with the agent and the sample embedded, in a folder that
// TestMain removes. Its path has a space, as on a Mac or on Windows.
var cloudsshProgram = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	// The folder images/bin may hold programs of an older `make build`; an
	// overlay replaces them without touching the checkout.
	for name, source := range map[string]string{"cloudssh-agent": "./cmd/cloudssh-agent", "cloudssh-shell": "./cmd/cloudssh-shell", "hello": "./images/hello"} {
		built := filepath.Join(workDir, name)
		if err := goBuild(root, built, source); err != nil {
			return "", err
		}
		if err := compress(built); err != nil {
			return "", fmt.Errorf("compressing %s: %w", built, err)
		}
		overlay.Replace[filepath.Join(root, "images", "bin", name+"-linux-"+runtime.GOARCH+".gz")] = built + ".gz"
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(workDir, "overlay.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return "", err
	}
	program := filepath.Join(workDir, "our bin", "cloudssh")
	return program, goBuild(root, program, "./cmd/cloudssh", "-overlay", file)
})

func goBuild(root, out, source string, flags ...string) error {
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", out}, flags...)
	cmd := exec.Command("go", append(args, source)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", source, err, text)
	}
	return nil
}

// compress writes path.gz.
func compress(path string) (err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := os.Create(path + ".gz")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, bytes.NewReader(b)); err != nil {
		return err
	}
	return z.Close()
}
