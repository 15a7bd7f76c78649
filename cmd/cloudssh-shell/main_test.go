//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestSize holds the shell's size, which is part of every twin's image.
func TestSize(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "cloudssh-shell")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=v0.0.1-test", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the shell: %v\n%s", err, out)
	}
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the shell has %d bytes", info.Size())
	if info.Size() > 12_000_000 {
		t.Errorf("the shell has %d bytes; it is uploaded into every twin's image", info.Size())
	}
}
