//go:build linux || darwin

package shell

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain also is the shell, when it is called by its name: jobs, signals and
// terminals need a process.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "cloudssh-shell", "-cloudssh-shell", "ls":
		os.Exit(Run(context.Background(), Config{ //nolint:forbidigo // this is a main
			Args: os.Args, Environ: os.Environ(), Version: "v0.0.1-test",
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		}))
	}
	os.Exit(m.Run()) //nolint:forbidigo // this too
}

// command is a shell process.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = append([]string{"cloudssh-shell"}, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + cmd.Dir, "LC_ALL=C", "TERM=xterm"}
	return cmd
}

// result is what a shell leaves behind.
type result struct {
	out, err string
	status   int
}

func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status := cmd.ProcessState.ExitCode()
	return result{out.String(), stderr.String(), status}
}

func script(t *testing.T, text string) result {
	t.Helper()
	return run(t, command(t, "-c", text))
}

func (r result) want(t *testing.T, out string, status int) {
	t.Helper()
	if r.out != out || r.status != status {
		t.Errorf("got %q and status %d (and %q), want %q and %d", r.out, r.status, strings.TrimSpace(r.err), out, status)
	}
}
