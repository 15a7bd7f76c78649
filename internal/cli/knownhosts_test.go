package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMLQ3mHbhd2kfm+VF+gBXlWt0FMCcplUVY62ixwWnxdD"

func mustKnow(t *testing.T, file, alias, key string) {
	t.Helper()
	if err := knowHost(t.Context(), file, alias, key); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestKnowHost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "not yet there", "known_hosts")
	mustKnow(t, file, "a", hostKey+" a comment\n")
	mustKnow(t, file, "b", hostKey)
	if got, want := contents(t, file), "a "+hostKey+"\nb "+hostKey+"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	info, err := os.Stat(file)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	mustKnow(t, file, "a", "ssh-ed25519 AAAA")
	if got, want := contents(t, file), "b "+hostKey+"\na ssh-ed25519 AAAA\n"; got != want {
		t.Errorf("after another key: %q, want %q", got, want)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	mustKnow(t, file, "b", hostKey)
	after, err := os.Stat(file)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file is written again for nothing, %v", err)
	}
	left, err := filepath.Glob(file + "-*")
	if err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

// TestKnowHostKeepsWhatIsNotOurs: people add what they need, and editors leave
// files without a last newline.
func TestKnowHostKeepsWhatIsNotOurs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	const other = "# mine\r\n@cert-authority *.example.com " + hostKey + "\nA " + hostKey + "\na,b " + hostKey
	if err := os.WriteFile(file, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	mustKnow(t, file, "a", "ssh-ed25519 AAAA")
	want := "# mine\n@cert-authority *.example.com " + hostKey + "\na,b " + hostKey + "\na ssh-ed25519 AAAA\n"
	if got := contents(t, file); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestKnowHostIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	var many knownHosts
	for n := range maxKnownHosts + 7 {
		many = append(many, fmt.Sprintf("old-%d %s", n, hostKey))
	}
	if err := os.WriteFile(file, many.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	mustKnow(t, file, "new", hostKey)
	got, err := readKnownHosts(file)
	if err != nil || len(got) != maxKnownHosts || !got.has("new", "new "+hostKey) || !isOf(got[0], "old-8") {
		t.Errorf("%d lines from %q on, %v", len(got), got[0], err)
	}
}

func TestKnowHostTogether(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	var writers sync.WaitGroup
	const many = 12 // each of which writes to the disk
	for n := range many {
		writers.Go(func() {
			if err := knowHost(t.Context(), file, fmt.Sprintf("host-%d", n), hostKey); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if lines := strings.Count(contents(t, file), "\n"); lines != many {
		t.Errorf("%d lines of %d are there", lines, many)
	}
}

func TestKnowHostRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	for _, alias := range []string{"", "-a", "a b", "a,b", "*", "a?", "!a", "#", "|1|a|b", "a\nb", "@revoked", strings.Repeat("a", 300)} {
		if err := knowHost(t.Context(), file, alias, hostKey); err == nil {
			t.Errorf("%q is taken", alias)
		}
	}
	for _, key := range []string{"", "ssh-ed25519", "\n"} {
		if err := knowHost(t.Context(), file, "a", key); err == nil {
			t.Errorf("the key %q is taken", key)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Errorf("it was written: %q", contents(t, file))
	}
}

// TestKnowHostWaits for another writer, but not for ever.
func TestKnowHostWaits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	unlock, err := lockFile(t.Context(), file+".lock")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := knowHost(ctx, file, "a", hostKey); err == nil || !strings.Contains(err.Error(), "enough") || !strings.Contains(err.Error(), file) {
		t.Errorf("with the lock taken: %v", err)
	}
	written := make(chan error, 1)
	go func() { written <- knowHost(t.Context(), file, "a", hostKey) }()
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestKnowHostCannot says which file and what to do, and leaves nothing.
func TestKnowHostCannot(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "known_hosts")
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	err := knowHost(t.Context(), file, "a", hostKey)
	var hinted *hintedError
	if !errors.As(err, &hinted) || !strings.Contains(err.Error(), file) {
		t.Errorf("%v", err)
	}
	left, err := filepath.Glob(file + "-*")
	if err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}
