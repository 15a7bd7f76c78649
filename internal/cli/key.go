package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// userKey is the private key of this user on this machine, made on first use
// in dir/id_ed25519 with mode 0600. It never leaves the machine: the twin's
// environment holds the public half.
func userKey(dir string) (ssh.Signer, error) {
	file := filepath.Join(dir, "id_ed25519")
	signer, err := readKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return signer, err
	}
	if err := makeKey(dir, file); err != nil {
		return nil, fmt.Errorf("making the key %s: %w", file, err)
	}
	return readKey(file)
}

func readKey(file string) (ssh.Signer, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return nil, withHints(fmt.Errorf("reading the key %s: %w", file, err),
			"move it away; cloudssh makes a new one: mv "+file+" "+file+".bad")
	}
	return signer, nil
}

// makeKey writes a new key beside file and links it into place: of two that
// start at once both end up with the same key, and neither reads half of one.
func makeKey(dir, file string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "cloudssh")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "id_ed25519-*") // 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	if err := errors.Join(pem.Encode(f, block), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// configDir is where cloudssh keeps its key.
func (a *app) configDir() (string, error) {
	if a.folder != "" {
		return a.folder, nil
	}
	if dir := a.env("CLOUDSSH_CONFIG_DIR"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", withHints(fmt.Errorf("locating the configuration folder: %w", err), "export CLOUDSSH_CONFIG_DIR=/some/private/folder")
	}
	return filepath.Join(dir, "cloudssh"), nil
}

// authorizedKey is the public half as one authorized_keys line.
func authorizedKey(s ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}
