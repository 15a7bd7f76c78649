package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestOCIWithoutOverlay has its state on a file system that an overlay cannot be made of.
func TestOCIWithoutOverlay(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	target := filepath.Join(dir, "merged")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "lower"), 0o755), os.Mkdir(target, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := mountOverlay(filepath.Join(dir, "lower"), dir, target); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: no overlay file systems here: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(target); err != nil {
			t.Error(err)
		}
	})
	r := ociRuntime(t, Runc, filepath.Join(target, "state"))
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t)
	if got := run(t, s, shell(image, "echo x > /new && cat /new")); got.stdout != "x\n" {
		t.Errorf("writing: %+v", got)
	}
	if got := run(t, s, shell(image, "ls /new")); got.exit.Code == 0 {
		t.Errorf("another container sees: %+v", got)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	assertSandboxGone(t, r, "one")
}

// TestOCIDiskFull: the state directory has no room for the image.
func TestOCIDiskFull(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := mountTmpfs(dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	r := ociRuntime(t, Runc, filepath.Join(dir, "state"))
	s := sandboxOf(t, r, "one")
	_, err := s.Start(t.Context(), shell(busyboxImage(t), "true"))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "unpacking layer sha256:") || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v", err)
	}
	if startErr := new(StartError); errors.As(err, &startErr) {
		t.Errorf("a full disk is blamed on the container: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	assertSandboxGone(t, r, "one")
}

// unprivilegedEnv makes the test binary the process without privileges: see TestUnavailable.
const unprivilegedEnv = "CLOUDSSH_TEST_UNPRIVILEGED"

// TestUnavailable reads what a user without privileges is told, and what is said about a
// runtime that is not installed.
func TestUnavailable(t *testing.T) {
	if kind := os.Getenv(unprivilegedEnv); kind != "" {
		_, err := New(t.Context(), Options{Kind: kind, StateDir: "/nonexistent"})
		var hints interface{ Hints() []string }
		if errors.As(err, &hints) {
			_, _ = fmt.Fprintf(os.Stdout, "%v\n%s\n", err, strings.Join(hints.Hints(), "\n"))
		}
		return
	}
	needOCI(t, Runc)
	for kind, want := range map[string]string{
		Runc: "container runtime runc: running containers takes root\nsudo cloudssh demo\n",
		Auto: "no container runtime: running containers takes root, and no Docker or Podman engine answers\nsudo cloudssh demo\n",
	} {
		// The binary of the tests may be where other users cannot go.
		dir, err := os.MkdirTemp("/tmp", "cloudssh-test-") //nolint:usetesting // see above
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		program := filepath.Join(dir, "program")
		if err := errors.Join(copyFile(os.Args[0], program), os.Chmod(program, 0o755), os.Chmod(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestUnavailable$")
		cmd.Dir = "/"
		cmd.Env = []string{unprivilegedEnv + "=" + kind, "DOCKER_HOST=unix:///nonexistent"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		output, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(output), want) {
			t.Errorf("%s: %q, %v, want %q", kind, output, err, want)
		}
	}
}

func TestUnknownKind(t *testing.T) {
	if _, err := New(t.Context(), Options{Kind: "rkt"}); err == nil || err.Error() != `unknown container runtime "rkt"` {
		t.Errorf("error %v", err)
	}
	needRoot(t)
	if _, err := findTool(Crun); err == nil {
		return
	}
	_, err := New(t.Context(), Options{Kind: Crun, StateDir: t.TempDir()})
	var unavailable *UnavailableError
	if !errors.As(err, &unavailable) || err.Error() != "container runtime crun: not installed" ||
		!slices.Equal(unavailable.Hints(), []string{"sudo apt-get install crun"}) {
		t.Errorf("error %v", err)
	}
}
